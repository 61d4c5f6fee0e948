#pragma once

#include <filesystem>

#include "fl/common/base/result.h"

namespace fl::server {

// Copies a state folder's database, with the bodies of updates beside it, to `to`, a folder that
// does not exist yet or is empty: what was committed when the copy began, all of it and nothing
// half, also while a server writes on. The copy is a state folder: a server started on it goes on
// with the same rounds. It is checked and durable when this returns; a copy that fails leaves no
// state.db in `to`. The process that serves the folder is not disturbed: it neither waits nor needs
// to be told.
// kNotFound: `state` holds no database; kInvalidArgument: `to` holds something; kIo with the path;
// kMalformed: the database is damaged.
Result<> BackUpState(const std::filesystem::path& state, const std::filesystem::path& to);

}  // namespace fl::server
