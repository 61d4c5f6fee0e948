/* Runs a model file, as a program in C would. */
#include <stdio.h>
#include <stdlib.h>

#include "fl/common/nn/infer/fl_infer.h"

int main(int argc, char** argv) {
  fl_infer_model* model = NULL;
  fl_infer_session* session = NULL;
  fl_infer_error error;
  if (argc < 2) return 1;
  if (fl_infer_load_file(argv[1], &model, &error) != 0 ||
      fl_infer_open(model, 1, &session, &error) != 0) {
    fprintf(stderr, "%s: %s\n", fl_infer_code_name(error.code), error.message);
    return 1;
  }
  float* input = calloc(fl_infer_input_count(model), sizeof(float));
  float* output = calloc(fl_infer_output_count(model), sizeof(float));
  const int code = fl_infer_run(session, input, 1, output, &error);
  size_t extents[3] = {0, 0, 0};
  fl_infer_input_shape(model, extents, 3);
  printf("%zu x %zu x %zu to %zu\n", extents[0], extents[1], extents[2],
         fl_infer_output_count(model));
  fl_infer_close(session);
  fl_infer_free(model);
  free(input);
  free(output);
  return code;
}
