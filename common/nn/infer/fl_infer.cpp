#include "fl/common/nn/infer/fl_infer.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <new>

#include "fl/common/nn/infer/infer.h"

struct fl_infer_model {  // NOLINT(readability-identifier-naming): C.
  fl::infer::Model model;
};

struct fl_infer_session {  // NOLINT(readability-identifier-naming): C.
  fl::infer::Session session;
  std::size_t input_count;
  std::size_t output_count;
};

namespace {

int Report(const fl::Error& found, fl_infer_error* error) {
  const int code = static_cast<int>(found.code);
  if (error == nullptr) return code;
  error->code = code;
  const std::size_t length = std::min(found.message.size(), sizeof(error->message) - 1);
  std::memcpy(error->message, found.message.data(), length);
  error->message[length] = '\0';
  return code;
}

// Runs what may fail or throw, and reports it.
template <typename Function>
int Guarded(fl_infer_error* error, const Function& function) {
  try {
    const fl::Result<> done = function();
    if (!done) return Report(done.error(), error);
    if (error != nullptr) *error = {};
    return 0;
  } catch (const std::bad_alloc&) {
    return Report({fl::ErrorCode::kLimitExceeded, "infer: not enough memory"}, error);
  } catch (const std::exception& exception) {
    return Report({fl::ErrorCode::kInternal, exception.what()}, error);
  }
}

fl::Error NullArgument() {
  return {fl::ErrorCode::kInvalidArgument, "infer: expected pointers, found NULL"};
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): names of C.
int fl_infer_load_file(const char* path, fl_infer_model** model, fl_infer_error* error) {
  return Guarded(error, [&]() -> fl::Result<> {
    if (path == nullptr || model == nullptr) return NullArgument();
    FL_TRY(fl::infer::Model loaded, fl::infer::Model::LoadFile(path));
    *model = new fl_infer_model{std::move(loaded)};
    return {};
  });
}

int fl_infer_load_bytes(const void* bytes, size_t size, fl_infer_model** model,
                        fl_infer_error* error) {
  return Guarded(error, [&]() -> fl::Result<> {
    if (bytes == nullptr || model == nullptr) return NullArgument();
    const fl::ByteSpan span(static_cast<const std::byte*>(bytes), size);
    FL_TRY(fl::infer::Model loaded, fl::infer::Model::Load(span));
    *model = new fl_infer_model{std::move(loaded)};
    return {};
  });
}

void fl_infer_free(fl_infer_model* model) {
  delete model;
}

size_t fl_infer_input_count(const fl_infer_model* model) {
  return model->model.input_shape().count();
}

size_t fl_infer_output_count(const fl_infer_model* model) {
  return model->model.output_shape().count();
}

size_t fl_infer_input_shape(const fl_infer_model* model, size_t* extents, size_t room) {
  const fl::Shape& shape = model->model.input_shape();
  for (std::size_t i = 0; i < std::min(room, shape.rank()); ++i) extents[i] = shape[i];
  return shape.rank();
}

int fl_infer_is_integer(const fl_infer_model* model) {
  return model->model.integer() ? 1 : 0;
}

const char* fl_infer_label(const fl_infer_model* model, size_t output) {
  const auto labels = model->model.labels();
  return output < labels.size() ? labels[output].c_str() : nullptr;
}

int fl_infer_open(const fl_infer_model* model, size_t batch_max, fl_infer_session** session,
                  fl_infer_error* error) {
  return Guarded(error, [&]() -> fl::Result<> {
    if (model == nullptr || session == nullptr) return NullArgument();
    FL_TRY(fl::infer::Session opened,
           fl::infer::Session::Create(model->model, {.batch_max = batch_max}));
    *session = new fl_infer_session{std::move(opened), fl_infer_input_count(model),
                                    fl_infer_output_count(model)};
    return {};
  });
}

void fl_infer_close(fl_infer_session* session) {
  delete session;
}

int fl_infer_run(fl_infer_session* session, const float* input, size_t samples, float* output,
                 fl_infer_error* error) {
  return Guarded(error, [&]() -> fl::Result<> {
    if (session == nullptr || input == nullptr || output == nullptr) return NullArgument();
    const std::size_t most = std::numeric_limits<std::size_t>::max() / sizeof(float) /
                             std::max(session->input_count, session->output_count);
    // Run names what it accepts: more samples than memory can hold are none of it.
    const std::size_t count = std::min(samples, most);
    return session->session.Run({input, count * session->input_count},
                                {output, count * session->output_count});
  });
}

const char* fl_infer_code_name(int code) {
  // The names are string literals.
  return fl::ErrorCodeName(static_cast<fl::ErrorCode>(code)).data();
}
// NOLINTEND(readability-identifier-naming)
