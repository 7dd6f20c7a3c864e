// How loading fails inside the core; api.cpp turns it into a status and a message.
#pragma once

#include "vaelocity/vaelocity.h"

#include <stdexcept>
#include <string>

namespace vael {

class LoadError : public std::runtime_error {
public:
  LoadError(vael_status code, const std::string &message)
      : std::runtime_error(message), status(code) {}
  vael_status status;
};

[[noreturn]] inline void fail(const std::string &message, vael_status status = VAEL_ERROR_BUNDLE) {
  throw LoadError(status, message);
}

} // namespace vael
