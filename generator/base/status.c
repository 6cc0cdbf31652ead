#include "generator/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char thread_message[ATTUNE_MESSAGE_SIZE];

attune_status attune_fail(attune_status status, const char *format, ...) {
  /* Formatted aside, because an argument may be attune_message() itself: "while doing x: <what went wrong>". */
  char text[ATTUNE_MESSAGE_SIZE];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length < 0) snprintf(text, sizeof text, "%s", attune_status_name(status));
  memcpy(thread_message, text, strlen(text) + 1);
  return status;
}

const char *attune_message(void) {
  return thread_message;
}

void attune_message_keep(attune_kept_message *out) {
  memcpy(out->text, thread_message, strlen(thread_message) + 1);
}

void attune_message_restore(const attune_kept_message *kept) {
  memcpy(thread_message, kept->text, strlen(kept->text) + 1);
}

const char *attune_status_name(attune_status status) {
  switch (status) {
#define NAME(status)                                                                                                   \
  case status:                                                                                                         \
    return #status;
    NAME(ATTUNE_OK)
    NAME(ATTUNE_OUT_OF_MEMORY)
    NAME(ATTUNE_BAD_ARGUMENT)
    NAME(ATTUNE_BAD_HEAD_DIM)
    NAME(ATTUNE_BAD_HEADS)
    NAME(ATTUNE_BAD_SIZE)
    NAME(ATTUNE_BAD_STRIDE)
    NAME(ATTUNE_BAD_POINTER)
    NAME(ATTUNE_BAD_SCALE)
    NAME(ATTUNE_BAD_WINDOW)
    NAME(ATTUNE_BAD_EXPRESSION)
    NAME(ATTUNE_BAD_CONFIG)
    NAME(ATTUNE_ILLEGAL_CONFIG)
    NAME(ATTUNE_BAD_BLOCK_MASK)
    NAME(ATTUNE_BAD_FILE)
    NAME(ATTUNE_BAD_JSON)
    NAME(ATTUNE_STORE_TOO_NEW)
    NAME(ATTUNE_STORE_FAILED)
    NAME(ATTUNE_NO_DEVICE)
    NAME(ATTUNE_NO_DRIVER)
    NAME(ATTUNE_NO_NVRTC)
    NAME(ATTUNE_NO_COMPILER)
    NAME(ATTUNE_COMPILE_FAILED)
    NAME(ATTUNE_WOULD_COMPILE)
    NAME(ATTUNE_WORKSPACE_TOO_SMALL)
    NAME(ATTUNE_DRIVER_FAILED)
    NAME(ATTUNE_KERNEL_FAULT)
    NAME(ATTUNE_WRONG_RESULT)
    NAME(ATTUNE_INTERRUPTED)
    NAME(ATTUNE_UNSUPPORTED)
#undef NAME
  }
  return "unknown status";
}

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *attune_version(void) {
  return VERSION(ATTUNE_VERSION_MAJOR, ATTUNE_VERSION_MINOR, ATTUNE_VERSION_PATCH);
}
