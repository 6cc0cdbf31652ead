/* Stand-ins for libcuda and libnvrtc, opened through ATTUNE_LIBCUDA and ATTUNE_NVRTC, so that the runtime is tested
 * without a GPU. A test opens the same file with dlopen and finds these functions in it. */
#ifndef ATTUNE_TESTS_FAKE_H
#define ATTUNE_TESTS_FAKE_H

#include "templates/parts/arguments.h"

typedef struct {
  unsigned grid, threads, shared_bytes;
  void *stream, *context;
  struct attune_arguments arguments;
  struct attune_gradients gradients; /* of a kernel of the backward pass; else what the runtime left there */
  int programmatic;                  /* it has the attribute of programmatic stream serialization */
} fake_launch;

/* What cuTensorMapEncodeTiled was given. */
typedef struct {
  void *base;
  int type, interleave, swizzle, promotion, fill;
  unsigned rank, box[4], element_strides[4];
  unsigned long long size[4], stride[3]; /* elements; bytes, the first dimension's left out */
} fake_map;

/* libcuda: two devices, an sm_90 and an sm_75. */
typedef struct {
  int launches, modules_loaded, modules_unloaded, pushes, pops, retains, releases, dynamic_limit;
  int maps;                    /* tensor maps made */
  int pinned;                  /* blocks of host memory that are */
  fake_map map[4];             /* the last four, in the order of their making */
  fake_launch last, recent[4]; /* launch n, from 0 on, is recent[n % 4] */
  struct {
    int before_launch; /* that many launches came before it */
    void *to, *stream;
    size_t size;
  } fill; /* the last one */
} fake_record;
typedef void fake_reset_function(void);                                   /* "fake_reset" */
typedef void fake_fail_function(const char *name, int result, int times); /* "fake_fail": the next calls of name */
typedef fake_record fake_read_function(void);                             /* "fake_read" */
typedef int fake_depth_function(void);                                    /* "fake_depth": contexts on this thread */
typedef void *fake_context_function(int ordinal);                         /* "fake_context": the primary context */

/* libnvrtc 13.0, knowing sm_80 and sm_90; the cubin is "\177ELF" and a hash of the source. */
typedef int fake_count_function(void);        /* "fake_compilations" */
typedef void fake_broken_function(int times); /* "fake_broken": the next compilations fail */

#endif
