/* Many processes and threads on one file, and processes killed while they write. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/store_test.h"

enum { PROCESSES = 16, ROWS = 12, THREADS = 8, KILLED = 24 };

static void sleep_microseconds(long microseconds) {
  nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

/* Puts and finds; returns whether everything went as if it were alone. */
static bool work(attune_store *store, int worker) {
  static const char binary[8000] = "binary";
  bool good = true;
  for (int i = 0; i < ROWS && good; i++) {
    char config[32];
    snprintf(config, sizeof config, "%d-%d", worker, i);
    attune_measurement row = measurement(config, 1 + i);
    attune_kernel object = kernel(config, binary, sizeof binary), *found = NULL;
    good = attune_store_put_measurement(store, &row) == ATTUNE_OK &&
           attune_store_put_kernel(store, &object) == ATTUNE_OK &&
           attune_store_find_kernel(store, &found, object.key) == ATTUNE_OK && found &&
           found->binary_size == sizeof binary && memcmp(found->binary, binary, sizeof binary) == 0;
    free(found);
  }
  return good && !*attune_store_warning(store);
}

static int run_process(int worker) {
  attune_store *store;
  if (attune_store_open(&store, &(attune_store_options){.path = in_folder("deep/x.db")})) return 1;
  bool good = work(store, worker);
  if (!good) fprintf(stderr, "worker %d: '%s' '%s'\n", worker, attune_message(), attune_store_warning(store));
  attune_store_close(store);
  return good ? 0 : 1;
}

static void expect_whole(int64_t rows) {
  attune_store *store = open_store("deep/x.db");
  assert_string_equal(attune_store_warning(store), "");
  assert_int_equal(count(store).measurements, rows);
  assert_int_equal(count(store).kernels, rows);
  assert_int_equal(count(store).damaged, 0);
  attune_store_close(store);
  assert_string_equal(sql("deep/x.db", "PRAGMA integrity_check"), "ok");
  assert_int_equal(count_files("deep/*"), 1);
}

static void processes_share_a_file_that_they_all_create(void **state) {
  (void)state;
  pid_t children[PROCESSES];
  for (int i = 0; i < PROCESSES; i++) {
    children[i] = fork();
    assert_true(children[i] >= 0);
    if (children[i] == 0) _exit(run_process(i));
  }
  for (int i = 0; i < PROCESSES; i++) {
    int result;
    assert_int_equal(waitpid(children[i], &result, 0), children[i]);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  }
  expect_whole(PROCESSES * ROWS);
}

typedef struct {
  attune_store *store;
  int worker;
  bool good;
} thread_data;

static void *run_thread(void *user) {
  thread_data *data = user;
  data->good = work(data->store, data->worker);
  return NULL;
}

static void threads_share_a_store(void **state) {
  (void)state;
  attune_store *store = open_store("deep/x.db");
  pthread_t threads[THREADS];
  thread_data data[THREADS];
  for (int i = 0; i < THREADS; i++) {
    data[i] = (thread_data){.store = store, .worker = i};
    assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &data[i]), 0);
  }
  while (count(store).measurements < THREADS * ROWS / 2)
    assert_string_equal(attune_store_warning(store), "");
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(data[i].good);
  }
  attune_store_close(store);
  expect_whole(THREADS * ROWS);
}

/* Writes until it is killed, and says over the pipe what is committed. */
static void write_until_killed(int worker, int descriptor) {
  attune_store *store;
  if (attune_store_open(&store, &(attune_store_options){.path = in_folder("deep/x.db")})) return;
  static const char binary[30000] = "binary";
  for (int i = 0;; i++) {
    char config[32];
    snprintf(config, sizeof config, "%d-%d", worker, i);
    attune_measurement row = measurement(config, 1 + i);
    attune_kernel object = kernel(config, binary, sizeof binary);
    if (attune_store_put_measurement(store, &row) || attune_store_put_kernel(store, &object)) return;
    if (*attune_store_warning(store)) return;
    int32_t done = i + 1;
    if (write(descriptor, &done, sizeof done) != sizeof done) return;
  }
}

static void killed_processes_leave_a_whole_file(void **state) {
  (void)state;
  setenv("ATTUNE_CACHE_LIMIT", "300000", 1); /* so that rows are evicted too */
  srand(20261123);
  for (int i = 0; i < KILLED; i++) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t children[2];
    for (int j = 0; j < 2; j++) {
      children[j] = fork();
      assert_true(children[j] >= 0);
      if (children[j] == 0) {
        if (j == 0) write_until_killed(i, ends[1]);
        if (j == 1) write_until_killed(1000 + i, open("/dev/null", O_WRONLY));
        _exit(1);
      }
    }
    close(ends[1]);
    sleep_microseconds(rand() % 30000); /* some are killed while the file is being made */
    for (int j = 0; j < 2; j++) {
      assert_int_equal(kill(children[j], SIGKILL), 0);
      assert_int_equal(waitpid(children[j], &status, 0), children[j]);
      assert_true(WIFSIGNALED(status)); /* no call failed and nothing was warned of before */
    }
    int32_t done = 0, said;
    while (read(ends[0], &said, sizeof said) == sizeof said)
      done = said;
    close(ends[0]);

    attune_store *store = open_store("deep/x.db");
    assert_string_equal(attune_store_warning(store), "");
    char query[96];
    snprintf(query, sizeof query, "SELECT count(*) >= %d FROM measurements WHERE config LIKE '%d-%%'", done, i);
    assert_string_equal(sql("deep/x.db", query), "1"); /* what was said to be committed is there */
    put(store, measurement("after", 1));
    assert_int_equal(count(store).damaged, 0);
    attune_store_close(store);
    assert_string_equal(sql("deep/x.db", "PRAGMA integrity_check"), "ok");
  }
  assert_int_equal(count_files("deep/*"), 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(processes_share_a_file_that_they_all_create),
      TEST(killed_processes_leave_a_whole_file),
      TEST(threads_share_a_store),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
