// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/rules_screen.h"

#include "gateway/answers/rules_text.h"
#include "gateway/console/pages.h"
#include "gateway/console/rules_page.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::console {

namespace {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;

constexpr int kTooLarge = 413;
constexpr int kNothingGiven = 400, kNotAllowed = 403, kNoSuchPage = 404, kChangedMeanwhile = 412;

bool isSet(const Fields& form, std::string_view name) {
    return fieldNamed(form, name) == "true";
}

/// A number where it is one; else the API says what is wrong with it.
Var numberIn(const std::string& text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) return number;
    return text;
}

bool isNumeric(std::string_view key) {
    return key == "client_sessions" || key == "client_rate";
}

Var valueOf(std::string_view key, const std::string& text) {
    if (text.empty()) return {};
    return isNumeric(key) ? numberIn(text) : Var(text);
}

constexpr std::array kParticulars{"note",        "expires_at", "owner", "ticket", "client_sessions",
                                  "client_rate", "reply"};

/// Lines, of which each may have several with commas between.
Array::Ptr subjectsIn(std::string_view text) {
    Array::Ptr subjects(new Array);
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(",\r\n"), text.size());
        if (const auto one = trimmed(text.substr(0, end)); !one.empty()) subjects->add(std::string(one));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return subjects;
}

Array::Ptr arrayOf(const std::vector<std::string>& texts) {
    Array::Ptr array(new Array);
    for (const std::string& text : texts)
        array->add(text);
    return array;
}

/// Without "with force …", which is a word of programs.
std::string sentenceIn(const Answer& answer) {
    if (answer.code() == "malformed_body") return "There are characters that are not UTF-8.";
    std::string detail = answer.detail();
    for (const std::string_view end :
         {R"(: nothing was changed; with "force" it is done anyway)", R"(; with "force" it is done anyway)"})
        if (detail.ends_with(end)) detail.resize(detail.size() - end.size());
    return detail;
}

std::string ruleLine(const Object& rule) {
    return fmt::format("Rule {}: {} {} {}", textOf(rule, "id"), textOf(rule, "verdict"), subjectOf(rule),
                       textOf(rule, "note"));
}

FormProblem problemIn(const Answer& answer) {
    FormProblem problem;
    problem.why = sentenceIn(answer);
    problem.may_insist =
        answer.code() == "hazardous" || answer.code() == "nothing_left" || answer.code() == "most_removed";
    constexpr std::size_t kMost = 50;
    const auto errors = objectsOf(*answer.object, "errors");
    for (std::size_t at = 0; at < std::min(errors.size(), kMost); ++at)
        problem.details.push_back(
            fmt::format("Line {}: {}", textOf(*errors[at], "line"), textOf(*errors[at], "message")));
    if (errors.size() > kMost)
        problem.details.push_back(fmt::format("and {} more", answers::grouped(errors.size() - kMost)));
    for (const auto& later : objectsOf(*answer.object, "changes"))
        problem.details.push_back(fmt::format("Change {} by {}: {} {}", textOf(*later, "change"),
                                              textOf(*later, "who"), textOf(*later, "before"),
                                              textOf(*later, "after")));
    for (const auto& rule : objectsOf(*answer.object, "rules"))
        problem.details.push_back(ruleLine(*rule));
    return problem;
}

api::Response notFound(const Question& question) {
    return htmlResponse(messagePage(question.viewer(), "Not found", "There is no such page."), kNoSuchPage);
}

api::Response nothingToChange(const Question& question) {
    return htmlResponse(
        messagePage(question.viewer(), "Nothing to change", "The rules are as you want them already."));
}

/// What was done has a page, from which it can be undone.
api::Response done(const Question& question, const Answer& answer) {
    const auto changes = objectsOf(*answer.object, "changes");
    if (changes.empty()) return nothingToChange(question);
    std::string path = "/rules/changes/" + percentEncoded(textOf(*changes.front(), "change"));
    if (answer.object->has("sessions_ended")) path += "?ended=" + textOf(*answer.object, "sessions_ended");
    return redirection(path);
}

RuleNames namesFor(const Question& question) {
    RuleNames names;
    const auto namesIn = [&](std::vector<std::string> path, const char* key) {
        std::vector<std::string> found;
        const Answer answer = question.answerTo({.path = std::move(path)});
        if (answer.ok())
            for (const auto& one : objectsOf(*answer.object, key))
                found.push_back(textOf(*one, "name"));
        return found;
    };
    names.listeners = namesIn({"status"}, "listeners");
    names.sets = namesIn({"rules", "sets"}, "sets");
    return names;
}

enum class Step : unsigned char { Preview, Do, Edit };

Step stepOf(const Fields& form) {
    const std::string step = fieldNamed(form, "step");
    return step == "do" ? Step::Do : step == "edit" ? Step::Edit : Step::Preview;
}

// ---- looking

api::Response list(const Question& question, const PageRequest& request) {
    return question.ask("GET", {"rules"}, listQuery(request.query), [&](const Object& found) {
        return htmlResponse(rulesPage(question.viewer(), request.query, namesFor(question), found));
    });
}

api::Response why(const Question& question, const PageRequest& request) {
    const Fields query = only(request.query, {"address", "listener"});
    const RuleNames names = namesFor(question);
    const auto shown = [&](const Object* decisions, std::string_view problem, int status) {
        return htmlResponse(whyPage(question.viewer(), query, names, decisions, problem), status);
    };
    if (fieldNamed(query, "address").empty()) return shown(nullptr, "", 200);
    const Answer answer = question.answerTo({.path = {"rules", "test"}, .query = query});
    if (!answer.ok()) return shown(nullptr, sentenceIn(answer), answer.status);
    return shown(answer.object.get(), "", 200);
}

api::Response history(const Question& question, const PageRequest& request) {
    const Fields query = only(request.query, {"network", "cursor"});
    return question.ask("GET", {"rules", "history"}, query, [&](const Object& found) {
        return htmlResponse(historyPage(question.viewer(), query, found));
    });
}

/// As changes are numbered, and in no other way.
bool isNumberOfChange(const std::string& text) {
    const Var number = numberIn(text);
    return number.isInteger() && number.toString() == text;
}

api::Response change(const Question& question, const PageRequest& request) {
    const std::string& number = request.path[2];
    if (!isNumberOfChange(number)) return notFound(question);
    std::string ended = fieldNamed(request.query, "ended");
    if (ended.find_first_not_of("0123456789") != std::string::npos) ended.clear();
    return question.ask(
        "GET", {"rules", "history"}, {{"change", number}, {"limit", "1000"}}, [&](const Object& found) {
            if (objectsOf(found, "changes").empty())
                return htmlResponse(
                    messagePage(question.viewer(), "Not found", "There is no change of that number."),
                    kNoSuchPage);
            return htmlResponse(changePage(question.viewer(), number, ended, found));
        });
}

/// Whether what would change now is none of what was wanted: it was sent twice. Times like "7d" and those of sets begin anew, others, and
/// such as a list has, do not.
bool hasBeenDone(const Object& body, const Object& rehearsed) {
    const bool is_span = textOf(body, "expires_at").find_first_of("-:") == std::string::npos &&
                         textOf(body, "text").find("expires=") == std::string::npos;
    return std::ranges::all_of(objectsOf(rehearsed, "changes"), [&](const Object::Ptr& one) {
        return is_span && isThereAlready(textOf(*one, "before"), textOf(*one, "after"));
    });
}

// ---- adding

/// An order as it is given at first, to say what it would do, and then to do it, if it still is that.
class Order {
  public:
    Order(const Question& question, std::vector<std::string> path, Object::Ptr body)
        : question_(question), path_(std::move(path)), body_(std::move(body)) {}

    Answer rehearse() const {
        Object::Ptr body(new Object(*body_));
        body->set("dry_run", true);
        return question_.answerTo({.method = "POST", .path = path_, .body = body});
    }
    Answer give(const std::string& etag) const {
        return question_.answerTo({.method = "POST", .path = path_, .body = body_, .if_match = etag});
    }
    /// What it would do; `status`: 200, or why it was not done.
    api::Response preview(Pending pending, const Answer& answer, int status) const {
        if (status == kChangedMeanwhile && !isTrue(*body_, "cut") && hasBeenDone(*body_, *answer.object))
            return nothingToChange(question_);  // it was pressed twice
        if (status == kChangedMeanwhile)
            pending.warning =
                "Nothing was done now: rules that this is about have changed since, by somebody else, or by "
                "this "
                "form if it was sent twice. This is what it would do now. " +
                pending.warning;
        std::erase_if(pending.fields, [](const auto& field) { return field.first == "etag"; });
        pending.fields.emplace_back("etag", answer.etag);
        return htmlResponse(previewPage(question_.viewer(), pending, *answer.object), status);
    }

  private:
    const Question& question_;
    const std::vector<std::string> path_;
    const Object::Ptr body_;
};

/// What is under way and would be ended: told before it is.
std::string endedWith(const Question& question, const Object& body) {
    constexpr std::size_t kMost = 20;
    if (!isTrue(body, "cut")) return "";
    const auto networks = textsOf(body, "networks");
    if (networks.size() > kMost) return "Sessions under way from these networks will be ended.";
    std::uint64_t sessions = 0;
    for (const std::string& network : networks) {
        const Answer live = question.answerTo({.path = {"sessions", "live"}, .query = {{"client", network}}});
        if (!live.ok()) return "Sessions under way from these networks will be ended.";
        sessions += live.object->optValue<std::uint64_t>("found", 0);
    }
    return fmt::format("{} from there under way now: those that are denied then will be ended.",
                       counted(sessions, "session"));
}

api::Response add(const Question& question, const PageRequest& request) {
    const auto form = [&](const Fields& fields, const FormProblem& problem, int status) {
        return htmlResponse(addRulePage(question.viewer(), fields, namesFor(question), problem), status);
    };
    if (request.method != "POST") return form(request.query, {}, 200);
    const Step step = stepOf(request.form);
    if (step == Step::Edit) return form(request.form, {}, 200);
    const Object::Ptr body = newRulesFrom(request.form);
    const Order order(question, {"rules"}, body);
    int status = 200;
    if (step == Step::Do) {
        const Answer answer = order.give(fieldNamed(request.form, "etag"));
        if (answer.ok()) return done(question, answer);
        if (answer.status != kChangedMeanwhile) return form(request.form, problemIn(answer), answer.status);
        status = answer.status;
    }
    const Answer answer = order.rehearse();
    if (!answer.ok()) return form(request.form, problemIn(answer), answer.status);
    Pending pending{"Add this?", "/rules/add", "Add", "/rules", request.form, true};
    pending.warning = endedWith(question, *body);
    return order.preview(std::move(pending), answer, status);
}

/// Browsers send each end of a line in a form as two characters, of whatever the list had.
Fields withPlainLines(Fields fields) {
    for (auto& [name, value] : fields) {
        std::string plain;
        plain.reserve(value.size());
        for (std::size_t at = 0; at < value.size(); ++at)
            if (value[at] != '\r' || at + 1 == value.size() || value[at + 1] != '\n') plain += value[at];
        value = std::move(plain);
    }
    return fields;
}

api::Response importList(const Question& question, const PageRequest& request) {
    const auto form = [&](const Fields& fields, const FormProblem& problem, int status) {
        return htmlResponse(importPage(question.viewer(), fields, namesFor(question), problem), status);
    };
    if (request.method != "POST") return form({}, {}, 200);
    // A file becomes the list, so that what is previewed is what is imported.
    Fields fields = withPlainLines(request.form);
    if (std::ranges::any_of(fields, [](const auto& field) { return field.second.size() > kMostList; }))
        return htmlResponse(messagePage(question.viewer(), "Too large",
                                        fmt::format("A list of no more than {} bytes is taken here. For "
                                                    "larger ones there is: mailgate access import FILE",
                                                    kMostList)),
                            kTooLarge);
    const std::string file = fieldNamed(fields, "list");
    const std::string typed = fieldNamed(fields, "text");
    std::erase_if(fields, [&](const auto& field) {
        return field.first == "list" || (field.first == "text" && !file.empty());
    });
    if (!file.empty()) fields.emplace_back("text", file);
    const Step step = stepOf(fields);
    if (!file.empty() && !trimmed(typed).empty())
        return form(request.form, {"There are a list and a file: one of them is enough.", {}, false}, 400);
    if (step == Step::Edit) return form(fields, {}, 200);
    const Order order(question, {"rules", "import"}, importFrom(fields));
    int status = 200;
    if (step == Step::Do) {
        const Answer answer = order.give(fieldNamed(fields, "etag"));
        if (answer.ok()) return done(question, answer);
        if (answer.status != kChangedMeanwhile) return form(fields, problemIn(answer), answer.status);
        status = answer.status;
    }
    const Answer answer = order.rehearse();
    if (!answer.ok()) return form(fields, problemIn(answer), answer.status);
    return order.preview({"Import this list?", "/rules/import", "Import", "/rules", fields, true}, answer,
                         status);
}

// ---- changing one

api::Response meanwhile(const Question& question, const Object& now, const Fields& form) {
    return htmlResponse(changedMeanwhilePage(question.viewer(), now, form), kChangedMeanwhile);
}

/// `is_second`: the rule was changed while the first look at it was acted on.
api::Response editLooking(const Question& question, const PageRequest& request, bool is_second) {
    const std::string& id = request.path[1];
    const std::string path = "/rules/" + percentEncoded(id);
    const Answer rule = question.answerTo({.path = {"rules", id}});
    if (!rule.ok()) return question.problemPage(rule);
    const auto form = [&](const Fields& fields, const FormProblem& problem, int status) {
        return htmlResponse(editRulePage(question.viewer(), *rule.object, fields, problem), status);
    };
    if (request.method != "POST") return form(fieldsOf(*rule.object, rule.etag), {}, 200);
    const std::string etag = fieldNamed(request.form, "etag");
    const Step step = stepOf(request.form);
    Object::Ptr body = changesFrom(request.form, *rule.object);
    const auto rehearse = [&] {
        Object::Ptr rehearsal(new Object(*body));
        rehearsal->set("dry_run", true);
        if (isSet(request.form, "force")) rehearsal->set("force", true);
        return question.answerTo(
            {.method = "PATCH", .path = {"rules", id}, .body = rehearsal, .if_match = rule.etag});
    };
    if (etag != rule.etag) {
        if (step != Step::Do) return meanwhile(question, *rule.object, request.form);
        if (body->size() == 0) return nothingToChange(question);
        const Answer now = rehearse();
        return now.ok() && hasBeenDone(*body, *now.object) ? nothingToChange(question)
                                                           : meanwhile(question, *rule.object, request.form);
    }
    if (step == Step::Edit) return form(request.form, {}, 200);
    if (body->size() == 0)
        return form(request.form, {"Nothing is different from what the rule has.", {}, false}, 200);
    if (isSet(request.form, "force")) body->set("force", true);
    const Answer answer =
        step == Step::Preview
            ? rehearse()
            : question.answerTo({.method = "PATCH", .path = {"rules", id}, .body = body, .if_match = etag});
    if (const auto now = answer.status == kChangedMeanwhile ? answer.object->getObject("rule") : nullptr)
        return is_second ? meanwhile(question, *now, request.form)
                         : editLooking(question, request, true);  // changed just now, perhaps by this form
    if (!answer.ok()) return form(request.form, problemIn(answer), answer.status);
    if (step == Step::Do) return done(question, answer);
    return htmlResponse(
        previewPage(question.viewer(),
                    {fmt::format("Change rule {}?", id), path + "/edit", "Change", path, request.form, true},
                    *answer.object));
}

api::Response edit(const Question& question, const PageRequest& request) {
    return editLooking(question, request, false);
}

api::Response remove(const Question& question, const PageRequest& request) {
    const std::string& id = request.path[1];
    const std::string path = "/rules/" + percentEncoded(id);
    const bool does = request.method == "POST" && stepOf(request.form) == Step::Do;
    std::string etag = fieldNamed(request.form, "etag");
    if (!does) {
        const Answer rule = question.answerTo({.path = {"rules", id}});
        if (!rule.ok()) return question.problemPage(rule);
        etag = rule.etag;
    }
    const Answer answer = question.answerTo({.method = "DELETE",
                                             .path = {"rules", id},
                                             .query = does ? Fields() : Fields{{"dry_run", "true"}},
                                             .if_match = etag});
    if (answer.status == kChangedMeanwhile && answer.object->getObject("rule"))
        return meanwhile(question, *answer.object->getObject("rule"), {});
    if (!answer.ok()) return question.problemPage(answer);
    if (does) return done(question, answer);
    return htmlResponse(previewPage(
        question.viewer(),
        {fmt::format("Remove rule {}?", id), path + "/remove", "Remove", path, {{"etag", etag}}, false},
        *answer.object));
}

/// Those that were marked in a list: which they are is in the form, and how they were, so that what was shown is what goes.
api::Response removeSelected(const Question& question, const PageRequest& request) {
    const bool is_post = request.method == "POST";
    const bool does = is_post && stepOf(request.form) == Step::Do;
    const auto ids = fieldsNamed(is_post ? request.form : request.query, "id");
    if (ids.empty())
        return htmlResponse(messagePage(question.viewer(), "Nothing selected",
                                        "Mark the rules that are to be removed in the list, first."),
                            kNothingGiven);
    Array::Ptr numbers(new Array);
    for (const std::string& id : ids)
        numbers->add(numberIn(id));
    Object::Ptr body(new Object);
    body->set("ids", numbers);
    if (!does) body->set("dry_run", true);
    const Answer answer = question.answerTo({.method = "POST",
                                             .path = {"rules", "remove"},
                                             .body = body,
                                             .if_match = does ? fieldNamed(request.form, "etag") : ""});
    if (!answer.ok()) return question.problemPage(answer);
    if (does) return done(question, answer);
    Fields fields{{"etag", answer.etag}};
    for (const std::string& id : ids)
        fields.emplace_back("id", id);
    return htmlResponse(previewPage(question.viewer(),
                                    {fmt::format("Remove {}?", counted(ids.size(), "rule")), "/rules/remove",
                                     "Remove", "/rules", std::move(fields), false},
                                    *answer.object));
}

api::Response undo(const Question& question, const PageRequest& request) {
    const std::string& number = request.path[2];
    if (!isNumberOfChange(number)) return notFound(question);
    const std::string path = "/rules/changes/" + percentEncoded(number);
    const bool does = request.method == "POST" && stepOf(request.form) == Step::Do;
    Pending pending{fmt::format("Undo change {}?", number), path + "/undo", "Undo", path, {}, false};
    if (isSet(request.form, "force")) pending.fields.emplace_back("force", "true");
    Object::Ptr body(new Object);
    body->set("change", numberIn(number));
    if (isSet(request.form, "force")) body->set("force", true);
    const Order order(question, {"rules", "undo"}, body);
    int status = 200;
    if (does) {
        const Answer answer = order.give(fieldNamed(request.form, "etag"));
        if (answer.ok()) return done(question, answer);
        if (answer.status != kChangedMeanwhile)
            return htmlResponse(insistPage(question.viewer(), pending, problemIn(answer)), answer.status);
        status = answer.status;
    }
    const Answer answer = order.rehearse();
    if (answer.ok()) return order.preview(std::move(pending), answer, status);
    FormProblem problem = problemIn(answer);
    if (does)
        problem.why = "Nothing was done now, because rules have changed since that was shown: " + problem.why;
    return htmlResponse(insistPage(question.viewer(), pending, problem), does ? status : answer.status);
}

using Screen = api::Response (*)(const Question&, const PageRequest&);

struct Route {
    std::vector<std::string_view> pattern;  ///< behind "rules"; "*": anything
    Screen screen;
    bool changes;
    std::vector<std::string_view> names{};  ///< of its form
};

std::vector<std::string_view> particularsAnd(std::initializer_list<std::string_view> others) {
    std::vector<std::string_view> names(kParticulars.begin(), kParticulars.end());
    names.insert(names.end(), others);
    return names;
}

/// The first that matches: fixed names come before those that may be anything.
const std::vector<Route>& routes() {
    static const std::vector<Route> all{
        {{}, list, false},
        {{"add"},
         add,
         true,
         particularsAnd({"networks", "verdict", "listeners", "set", "cut", "force", "etag"})},
        {{"import"}, importList, true, {"text", "list", "verdict", "set", "replace", "force", "etag"}},
        {{"remove"}, removeSelected, true, {"id", "etag"}},
        {{"why"}, why, false},
        {{"history"}, history, false},
        {{"changes", "*"}, change, false},
        {{"changes", "*", "undo"}, undo, true, {"force", "etag"}},
        {{"*", "edit"}, edit, true, particularsAnd({"etag", "force"})},
        {{"*", "remove"}, remove, true, {"etag"}},
    };
    return all;
}

bool matches(const std::vector<std::string_view>& pattern, const std::vector<std::string>& path) {
    return std::equal(pattern.begin(), pattern.end(), path.begin() + 1, path.end(),
                      [](std::string_view wanted, const std::string& segment) {
                          return wanted == "*" ? !segment.empty() : wanted == segment;
                      });
}

}  // namespace

std::optional<std::vector<std::string_view>> namesOfRulesForm(const std::vector<std::string>& path) {
    for (const Route& route : routes())
        if (route.changes && matches(route.pattern, path)) return route.names;
    return std::nullopt;
}

Object::Ptr newRulesFrom(const Fields& form) {
    Object::Ptr body(new Object);
    body->set("networks", subjectsIn(fieldNamed(form, "networks")));
    body->set("verdict", fieldNamed(form, "verdict"));
    body->set("listeners", arrayOf(fieldsNamed(form, "listeners")));
    for (const char* const key : kParticulars)
        if (const std::string text = fieldNamed(form, key); !text.empty()) body->set(key, valueOf(key, text));
    if (const std::string set = fieldNamed(form, "set"); !set.empty()) body->set("set", set);
    for (const char* const key : {"cut", "force"})
        if (isSet(form, key)) body->set(key, true);
    return body;
}

Object::Ptr changesFrom(const Fields& form, const Object& rule) {
    Object::Ptr body(new Object);
    for (const char* const key : kParticulars) {
        const auto given = fieldsNamed(form, key);
        if (given.size() != 1 || given.front() == answers::plainLine(textOf(rule, key))) continue;
        body->set(key, valueOf(key, given.front()));
    }
    return body;
}

bool isThereAlready(const std::string& before, const std::string& after) {
    constexpr std::int64_t kMoment = 60;
    auto was = store::parseTrailRule(before);
    const auto is = store::parseTrailRule(after);
    if (!was || !is || !was->expires_at || !is->expires_at) return false;
    if (*is->expires_at - *was->expires_at > kMoment || *is->expires_at < *was->expires_at) return false;
    was->expires_at = is->expires_at;
    return *was == *is;
}

Object::Ptr importFrom(const Fields& form) {
    Object::Ptr body(new Object);
    body->set("text", fieldNamed(form, "text"));
    for (const char* const key : {"verdict", "set"})
        if (const std::string text = fieldNamed(form, key); !text.empty()) body->set(key, text);
    const std::string replace = fieldNamed(form, "replace");
    if (replace == "set" || replace == "all") body->set("replace", true);
    if (replace == "all") body->set("all_sets", true);
    if (isSet(form, "force")) body->set("force", true);
    return body;
}

api::Response rulesScreen(const Question& question, const PageRequest& request) {
    const auto& path = request.path;
    for (const Route& route : routes()) {
        if (!matches(route.pattern, path)) continue;
        const Viewer viewer = question.viewer();
        if (route.changes && !viewer.may_change)
            return htmlResponse(
                messagePage(viewer, "Not possible", "Changing rules needs the role operator or admin."),
                kNotAllowed);
        return route.screen(question, request);
    }
    if (path.size() != 2) return notFound(question);
    return question.ask("GET", {"rules", path[1]}, {},
                        [&](const Object& rule) { return htmlResponse(rulePage(question.viewer(), rule)); });
}

}  // namespace mailgate::console
