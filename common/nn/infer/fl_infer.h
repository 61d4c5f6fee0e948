#ifndef FL_INFER_H
#define FL_INFER_H

#include <stddef.h>

/* Inference alone, for C and for foreign function interfaces: infer.h in C. Link libfl_infer and
   the C++ runtime. No exception leaves these functions, and none of them ends the program.

   Each function that can fail returns 0 or an error's code (fl_infer_code_name gives its name) and,
   where `error` is not NULL, fills in what was expected and what was found. On an error the
   result's pointer is left as it was.

   Thread safety: a model may be used by many threads at once, a session by one at a time; sessions
   of one model are independent. */

/* NOLINTBEGIN(readability-identifier-naming): names of C. */
#ifdef __cplusplus
extern "C" {
#endif

typedef struct fl_infer_model fl_infer_model;     /* A model file's content; immutable. */
typedef struct fl_infer_session fl_infer_session; /* A model that is ready to run. */

typedef struct fl_infer_error {
  int code;          /* 0 when there was none. */
  char message[256]; /* Ends with a zero; cut off when it is longer. */
} fl_infer_error;

/* Reads a model from a file, or from bytes that need not stay afterwards. */
int fl_infer_load_file(const char* path, fl_infer_model** model, fl_infer_error* error);
int fl_infer_load_bytes(const void* bytes, size_t size, fl_infer_model** model,
                        fl_infer_error* error);
/* Frees a model; its sessions stay as they are. NULL is allowed. */
void fl_infer_free(fl_infer_model* model);

/* Values of one sample's input and output. */
size_t fl_infer_input_count(const fl_infer_model* model);
size_t fl_infer_output_count(const fl_infer_model* model);
/* The extents of one sample's input, at most `room` of them, outermost first: height, width,
   channels, or features. Returns how many there are. */
size_t fl_infer_input_shape(const fl_infer_model* model, size_t* extents, size_t room);
/* 1 for int8, 0 for fp32. */
int fl_infer_is_integer(const fl_infer_model* model);
/* The name of an output, or NULL where the model names none; valid as long as the model. */
const char* fl_infer_label(const fl_infer_model* model, size_t output);

/* Packs the weights and allocates all memory for up to batch_max samples in one run. */
int fl_infer_open(const fl_infer_model* model, size_t batch_max, fl_infer_session** session,
                  fl_infer_error* error);
/* Frees a session. NULL is allowed. */
void fl_infer_close(fl_infer_session* session);

/* Runs `samples` samples: input has samples * input_count values (images: height, width, channels),
   output has room for samples * output_count (logits, no softmax). */
int fl_infer_run(fl_infer_session* session, const float* input, size_t samples, float* output,
                 fl_infer_error* error);

/* "malformed", "not_found", ...; "ok" for 0. */
const char* fl_infer_code_name(int code);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */

#endif
