// SPDX-License-Identifier: Apache-2.0
/// \file  What a page asks the API, for whom it is made, and what it becomes. Internal to gateway/console/.
#pragma once

#include "gateway/api/api.h"
#include "gateway/console/authenticator.h"
#include "gateway/console/forms.h"
#include "gateway/console/layout.h"

#include <Poco/JSON/Object.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

/// A request of a page, as far as the target tells.
struct PageRequest {
    std::string method;
    std::vector<std::string> path;  ///< decoded; may hold anything
    Fields query{};
    Fields form{};  ///< of a POST
    bool takes_gzip = false;
    std::string if_none_match{};
};

api::Response htmlResponse(std::string html, int status = 200);
/// To another page, with GET.
api::Response redirection(std::string_view to);

struct Answer {
    int status = 0;
    Poco::JSON::Object::Ptr object;  ///< a problem document, if it was refused
    std::string etag;

    bool ok() const noexcept { return status < 400; }
    /// Of a problem.
    std::string code() const { return object->optValue<std::string>("code", ""); }
    std::string detail() const { return object->optValue<std::string>("detail", ""); }
};

/// `api` and `known` must outlive it.
class Question {
  public:
    /// `has_left`: as a request of the API has it.
    Question(api::Api& api, const Known& known, std::function<bool()> has_left = {})
        : api_(api), known_(known), has_left_(std::move(has_left)) {}

    struct Order {
        std::string method = "GET";
        std::vector<std::string> path;
        Fields query{};
        Poco::JSON::Object::Ptr body{};  ///< null: none
        std::string if_match{};
    };
    Answer answerTo(Order order) const;

    /// The page of what the API answers, or the one that says why it does not.
    template <typename ToPage>
    api::Response ask(std::string method, std::vector<std::string> path, Fields query, ToPage to_page) const {
        const Answer answer =
            answerTo({.method = std::move(method), .path = std::move(path), .query = std::move(query)});
        return answer.ok() ? to_page(*answer.object) : problemPage(answer);
    }
    /// `next`: what can be done then.
    api::Response problemPage(const Answer& answer, const Html& next = {}) const;

    Viewer viewer() const;

  private:
    api::Api& api_;
    const Known& known_;
    const std::function<bool()> has_left_;
};

/// The names of a page's own query that go to the API.
Fields only(const Fields& query, std::initializer_list<std::string_view> names);

}  // namespace mailgate::console
