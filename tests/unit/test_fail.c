/* Statuses, messages and the version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "generator/base/status.h"

static void message_is_empty_before_any_failure(void **state) {
  (void)state;
  assert_string_equal(attune_message(), "");
}

static void fail_returns_its_status_and_keeps_the_message(void **state) {
  (void)state;
  attune_status status = attune_fail(ATTUNE_BAD_SIZE, "needs %d bytes, has %d", 8, 7);
  assert_int_equal(status, ATTUNE_BAD_SIZE);
  assert_string_equal(attune_message(), "needs 8 bytes, has 7");
}

static void a_message_may_wrap_the_one_before(void **state) {
  (void)state;
  attune_fail(ATTUNE_BAD_FILE, "line %d", 3);
  attune_fail(ATTUNE_BAD_FILE, "x.json: %s", attune_message());
  assert_string_equal(attune_message(), "x.json: line 3");
}

static void long_messages_are_cut(void **state) {
  (void)state;
  char text[10000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  attune_fail(ATTUNE_BAD_FILE, "%s", text);
  assert_int_equal(strlen(attune_message()), 4095);
}

static void *fail_elsewhere(void *user) {
  int *empty_at_first = user;
  *empty_at_first = strcmp(attune_message(), "") == 0;
  attune_fail(ATTUNE_BAD_FILE, "another thread's");
  return NULL;
}

static void each_thread_has_its_own_message(void **state) {
  (void)state;
  attune_fail(ATTUNE_BAD_SIZE, "mine");
  pthread_t thread;
  int empty_at_first = 0;
  assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &empty_at_first), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(empty_at_first);
  assert_string_equal(attune_message(), "mine");
}

static void every_status_has_its_own_name(void **state) {
  (void)state;
  for (int i = 0; i < ATTUNE_STATUS_COUNT; i++) {
    const char *name = attune_status_name((attune_status)i);
    assert_int_equal(strncmp(name, "ATTUNE_", 7), 0);
    for (int j = 0; j < i; j++)
      assert_string_not_equal(name, attune_status_name((attune_status)j));
  }
  assert_string_equal(attune_status_name((attune_status)9999), "unknown status");
}

static void version_is_that_of_the_header(void **state) {
  (void)state;
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", ATTUNE_VERSION_MAJOR, ATTUNE_VERSION_MINOR, ATTUNE_VERSION_PATCH);
  assert_string_equal(attune_version(), text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(message_is_empty_before_any_failure),
      cmocka_unit_test(fail_returns_its_status_and_keeps_the_message),
      cmocka_unit_test(a_message_may_wrap_the_one_before),
      cmocka_unit_test(long_messages_are_cut),
      cmocka_unit_test(each_thread_has_its_own_message),
      cmocka_unit_test(every_status_has_its_own_name),
      cmocka_unit_test(version_is_that_of_the_header),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
