/* Files of commands: what is replaced, what is written into, what is refused, and pipes that nobody serves. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/store_test.h"
#include "tuner/files/file.h"

static void expect_text(const char *name, const char *text) {
  char *found;
  size_t size;
  assert_int_equal(attune_file_read(&found, &size, in_folder(name), 1000), ATTUNE_OK);
  assert_string_equal(found, text);
  free(found);
}

/* The write fails, says so, and leaves the folder as it was. */
static void refuse(const char *name, const char *says) {
  const int before = count_files("*");
  assert_int_equal(attune_file_write(in_folder(name), "new", 3), ATTUNE_BAD_FILE);
  if (!strstr(attune_message(), says)) fail_msg("%s", attune_message());
  assert_int_equal(count_files("*"), before);
}

static void a_regular_file_is_replaced_and_keeps_its_mode(void **state) {
  (void)state;
  struct stat file;
  write_file("x", "old", 3);
  assert_int_equal(chmod(in_folder("x"), 0600), 0);
  assert_int_equal(attune_file_write(in_folder("x"), "new", 3), ATTUNE_OK);
  expect_text("x", "new");
  assert_int_equal(stat(in_folder("x"), &file), 0);
  assert_int_equal(file.st_mode & 0777, 0600);
  assert_int_equal(count_files("*"), 1);
}

static void links_folders_and_sockets_are_refused(void **state) {
  (void)state;
  write_file("target", "old", 3);
  assert_int_equal(symlink(in_folder("target"), in_folder("link")), 0);
  assert_int_equal(symlink(in_folder("nowhere"), in_folder("broken")), 0);
  assert_int_equal(mkdir(in_folder("folder"), 0700), 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", in_folder("socket"));
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
  refuse("link", "link is a symbolic link, and is not replaced; name the file itself");
  refuse("broken", "leads to no file");
  refuse("folder", "is no regular file");
  refuse("socket", "is no regular file");
  expect_text("target", "old");
  close(listener);
}

static bool is_kind(const char *name, mode_t kind) {
  struct stat file;
  return lstat(in_folder(name), &file) == 0 && (file.st_mode & S_IFMT) == kind;
}

static void *read_fifo(void *text) {
  const int file = open(in_folder("fifo"), O_RDONLY);
  const ssize_t size = read(file, text, 15);
  close(file);
  return size == 3 ? text : NULL;
}

static void a_fifo_is_written_into(void **state) {
  (void)state;
  char text[16] = "";
  void *read;
  pthread_t reader;
  assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
  refuse("fifo", "no process reads from it");
  assert_int_equal(pthread_create(&reader, NULL, read_fifo, text), 0);
  attune_status status;
  do
    status = attune_file_write(in_folder("fifo"), "new", 3); /* until the reader is there */
  while (status != ATTUNE_OK);
  assert_int_equal(pthread_join(reader, &read), 0);
  assert_non_null(read);
  assert_string_equal(text, "new");
  assert_true(is_kind("fifo", S_IFIFO));
}

/* A terminal of our own stands for all devices: a mistake here costs nothing. */
static void a_device_is_written_into(void **state) {
  (void)state;
  char name[64], text[16] = "";
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  assert_int_equal(ptsname_r(master, name, sizeof name), 0);
  assert_int_equal(symlink(name, in_folder("device")), 0);
  assert_int_equal(attune_file_write(in_folder("device"), "new", 3), ATTUNE_OK);
  assert_int_equal(read(master, text, 15), 3);
  assert_string_equal(text, "new");
  assert_true(is_kind("device", S_IFLNK));
  close(master);
}

static void what_cannot_be_read_fails_at_once(void **state) {
  (void)state;
  char *text;
  size_t size;
  assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
  assert_int_equal(attune_file_read(&text, &size, in_folder("fifo"), 1000), ATTUNE_BAD_FILE);
  assert_non_null(strstr(attune_message(), "fifo: is a FIFO that nobody writes into"));
  assert_int_equal(attune_file_read(&text, &size, folder, 1000), ATTUNE_BAD_FILE);
  assert_int_equal(attune_file_read(&text, &size, "/dev/zero", 1000), ATTUNE_BAD_FILE);
  write_file("large", "0123456789", 10);
  assert_int_equal(attune_file_read(&text, &size, in_folder("large"), 9), ATTUNE_BAD_FILE);
  assert_int_equal(attune_file_read(&text, &size, in_folder("large"), 10), ATTUNE_OK);
  assert_int_equal(size, 10);
  free(text);
}

/* Standard input and output are this process's own, so they are replaced for the test. */
static void a_dash_is_a_standard_stream(void **state) {
  (void)state;
  char *text;
  size_t size;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  const int in = dup(STDIN_FILENO), out = dup(STDOUT_FILENO);
  dup2(ends[0], STDIN_FILENO);
  dup2(ends[1], STDOUT_FILENO);
  close(ends[0]);
  close(ends[1]);
  const attune_status written = attune_file_write("-", "new", 3);
  const attune_status again = attune_file_write("/dev/stdout", "er", 2);
  dup2(out, STDOUT_FILENO);
  const attune_status read = attune_file_read(&text, &size, "-", 1000);
  if (in >= 0) dup2(in, STDIN_FILENO);
  close(in);
  close(out);
  assert_int_equal(written, ATTUNE_OK);
  assert_int_equal(again, ATTUNE_OK);
  assert_int_equal(read, ATTUNE_OK);
  assert_string_equal(text, "newer");
  free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_regular_file_is_replaced_and_keeps_its_mode),
      TEST(links_folders_and_sockets_are_refused),
      TEST(a_fifo_is_written_into),
      TEST(a_device_is_written_into),
      TEST(what_cannot_be_read_fails_at_once),
      TEST(a_dash_is_a_standard_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
