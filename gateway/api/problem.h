// SPDX-License-Identifier: Apache-2.0
/// \file  Why a request is not carried out. Internal to gateway/api/: Api::handle() makes a response of it.
#pragma once

#include "store/rules/service.h"

#include <exception>
#include <string>
#include <utility>

namespace mailgate::api {

class Problem final : public std::exception {
  public:
    /// As problemResponse() takes it.
    Problem(int status, std::string code, std::string detail, std::string members = {})
        : status(status), code(std::move(code)), detail(std::move(detail)), members(std::move(members)) {}
    const char* what() const noexcept override { return detail.c_str(); }

    int status;
    std::string code, detail, members;
};

/// What is wrong with a value of the request.
Problem invalid(const std::string& name, const std::string& why);

/// Why the rules were not changed.
Problem problemOf(const rules::Refusal& refusal);

}  // namespace mailgate::api
