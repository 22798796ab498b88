// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/rules_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

/// What a list can be narrowed to with one choice.
struct Choice {
    const char* name;
    const char* words;
    const char* key;    ///< of /rules
    const char* value;  ///< likewise
};
constexpr std::array kChoices{
    Choice{"", "In force", "", ""},
    Choice{"expiring-7d", "Expiring within 7 days", "expiring", "7d"},
    Choice{"expiring-30d", "Expiring within 30 days", "expiring", "30d"},
    Choice{"unused-30d", "Not used for 30 days", "unused", "30d"},
    Choice{"unused-90d", "Not used for 90 days", "unused", "90d"},
    Choice{"unused-365d", "Not used for a year", "unused", "365d"},
    Choice{"overlapping", "Overlapping others", "overlapping", "true"},
    Choice{"shadowed", "Without any effect", "shadowed", "true"},
    Choice{"expired", "Expired", "expired", "true"},
};

using Options = std::vector<std::pair<std::string, std::string>>;

Options optionsOf(const std::vector<std::string>& names, const char* all) {
    Options options{{"", all}};
    for (const std::string& name : names)
        options.emplace_back(name, name);
    return options;
}

void addFilters(Html& html, const Fields& query, const RuleNames& names) {
    Options choices;
    for (const Choice& choice : kChoices)
        choices.emplace_back(choice.name, choice.words);
    html.markup("<form class=\"search\" method=\"get\" action=\"/rules\" role=\"search\">");
    addSelect(html, {"show", "Show", fieldNamed(query, "show")}, choices);
    addInput(html, {"match", "Covering", fieldNamed(query, "match"), "An address or a network"});
    addInput(html, {"note", "Note contains", fieldNamed(query, "note")});
    addSelect(html, {"listener", "Listener", fieldNamed(query, "listener")},
              optionsOf(names.listeners, "Any"));
    addSelect(html, {"set", "Set", fieldNamed(query, "set")}, optionsOf(names.sets, "Any"));
    html.markup("<p><button>Filter</button></p></form>");
}

void addVerdict(Html& cell, const Object& rule) {
    if (textOf(rule, "verdict") == "allow")
        cell.markup("<span class=\"good\">allow</span>");
    else
        cell.markup("<span class=\"bad\">deny</span>");
}

/// The network, or the name and what it stands for.
void addSubject(Html& cell, const Object& rule) {
    cell.markup("<a href=\"/rules/").text(percentEncoded(textOf(rule, "id"))).markup("\">");
    cell.text(subjectOf(rule)).markup("</a>");
    if (textOf(rule, "name").empty()) return;
    const auto networks = textsOf(rule, "stands_for");
    if (networks.empty()) {
        cell.markup(" <span class=\"warning\">stands for nothing yet</span>");
        return;
    }
    constexpr std::size_t kMost = 3;
    std::string text;
    for (std::size_t at = 0; at < std::min(networks.size(), kMost); ++at)
        text += (at == 0 ? "" : ", ") + networks[at];
    if (networks.size() > kMost)
        text += fmt::format(" and {} more", answers::grouped(networks.size() - kMost));
    cell.markup(" <span class=\"soft\">").text(text).markup("</span>");
}

Column timeColumn(const char* title, const char* key, const char* otherwise) {
    return {title, false, [key, otherwise](Html& cell, const Object& row) {
                const std::string time = textOf(row, key);
                time.empty() ? void(cell.text(otherwise)) : addTime(cell, time);
            }};
}

void addOrders(Html& cell, const Object& rule) {
    const std::string path = "/rules/" + percentEncoded(textOf(rule, "id"));
    const std::string subject = subjectOf(rule);
    cell.markup("<a href=\"").text(path).markup("/edit\" aria-label=\"Edit ").text(subject);
    cell.markup("\">Edit</a> <a href=\"").text(path).markup("/remove\" aria-label=\"Remove ").text(subject);
    cell.markup("\">Remove</a>");
}

/// What is marked goes to the page that shows what removing it would do.
constexpr const char* kSelection = "selection";

void addMark(Html& cell, const Object& rule) {
    cell.markup("<input type=\"checkbox\" name=\"id\" form=\"").text(kSelection).markup("\" value=\"");
    cell.text(textOf(rule, "id")).markup("\" id=\"mark-").text(textOf(rule, "id"));
    cell.markup("\" aria-label=\"Select ").text(subjectOf(rule)).markup("\">");
}

std::vector<Column> ruleColumns(const Viewer& viewer) {
    std::vector<Column> columns{{"Verdict", false, addVerdict},
                                {"Network or name", false, addSubject},
                                {"Listener", false,
                                 [](Html& cell, const Object& rule) {
                                     const std::string listener = textOf(rule, "listener");
                                     cell.text(listener.empty() ? "all" : listener);
                                 }},
                                plain("Set", "set"),
                                plain("Note", "note"),
                                plain("Owner", "owner"),
                                timeColumn("Expires", "expires_at", "never"),
                                number("Uses", "hits"),
                                timeColumn("Last used", "last_hit_at", "never")};
    if (viewer.may_change) columns.push_back({"Change", false, addOrders});
    return columns;
}

void addLinks(Html& html, const Viewer& viewer) {
    html.markup("<ul class=\"links\">");
    if (viewer.may_change)
        html.markup(
            "<li><a href=\"/rules/add\">Add a rule</a></li><li><a href=\"/rules/import\">Import a "
            "list</a></li>");
    html.markup(
        "<li><a href=\"/rules/why\">Why is an address admitted or refused?</a></li><li><a "
        "href=\"/rules/history\">History</a></li></ul>");
}

/// The address of another page of the same list.
std::string linkTo(std::string path, const Fields& query, const std::string& cursor) {
    path += "?cursor=" + percentEncoded(cursor);
    for (const auto& [name, value] : query)
        if (name != "cursor" && !value.empty())
            path += "&" + percentEncoded(name) + "=" + percentEncoded(value);
    return path;
}

bool isFiltered(const Fields& query) {
    return std::any_of(query.begin(), query.end(),
                       [](const auto& field) { return field.first != "cursor" && !field.second.empty(); });
}

void addNothing(Html& html, const Viewer& viewer, const Fields& query) {
    if (isFiltered(query)) {
        html.markup("<p>No rule is like that. <a href=\"/rules\">Show all that are in force</a></p>");
        return;
    }
    html.markup(
        "<p>There are no rules yet: listeners with <code>access = \"allowlist\"</code> refuse everybody, "
        "those with <code>access = \"open\"</code> admit everybody.</p>");
    if (viewer.may_change)
        html.markup(
            "<p><a href=\"/rules/add\">Add the first rule</a>, or <a href=\"/rules/import\">import a "
            "list</a> "
            "of another program.</p>");
}

void addFound(Html& html, const Viewer& viewer, const std::vector<Object::Ptr>& rules, std::uint64_t found) {
    auto columns = ruleColumns(viewer);
    if (viewer.may_change) columns.insert(columns.begin(), {"Select", false, addMark});
    html.add(tableOf(fmt::format("{} found, in the order of their numbers", counted(found, "rule")), rules,
                     columns));
    if (viewer.may_change)
        html.markup("<form method=\"get\" action=\"/rules/remove\" id=\"")
            .text(kSelection)
            .markup("\"><p><button class=\"plain\">Remove selected</button></p></form>");
}

std::string titleOf(const Object& rule) {
    return fmt::format("Rule {}: {} {}", textOf(rule, "id"), textOf(rule, "verdict"), subjectOf(rule));
}

}  // namespace

std::string subjectOf(const Object& rule) {
    if (std::string name = textOf(rule, "name"); !name.empty()) return name;
    std::string network = textOf(rule, "network");
    const std::string_view whole = network.find(':') == std::string::npos ? "/32" : "/128";
    if (network.ends_with(whole)) network.resize(network.size() - whole.size());
    return network;
}

Fields listQuery(const Fields& query) {
    Fields wanted;
    for (const auto& [name, value] : query)
        for (const char* const key : {"match", "note", "listener", "set", "cursor"})
            if (name == key && !value.empty()) wanted.emplace_back(name, value);
    const std::string show = fieldNamed(query, "show");
    for (const Choice& choice : kChoices)
        if (show == choice.name && *choice.key != '\0') wanted.emplace_back(choice.key, choice.value);
    return wanted;
}

std::string rulesPage(const Viewer& viewer, const Fields& query, const RuleNames& names,
                      const Object& found) {
    Html html;
    addLinks(html, viewer);
    addFilters(html, query, names);
    const auto rules = objectsOf(found, "rules");
    if (rules.empty())
        addNothing(html, viewer, query);
    else
        addFound(html, viewer, rules, found.optValue<std::uint64_t>("found", 0));
    if (const std::string next = textOf(found, "next"); !next.empty())
        html.markup("<p><a rel=\"next\" href=\"")
            .text(linkTo("/rules", query, next))
            .markup("\">More rules</a></p>");
    return page(viewer, Place::Rules, "Rules", html);
}

std::string rulePage(const Viewer& viewer, const Object& rule) {
    Html html;
    const std::string path = "/rules/" + percentEncoded(textOf(rule, "id"));
    if (viewer.may_change)
        html.markup("<ul class=\"links\"><li><a href=\"")
            .text(path)
            .markup("/edit\">Edit</a></li><li><a href=\"")
            .text(path)
            .markup("/remove\">Remove</a></li></ul>");
    addFacts(html, rule);
    if (const std::string network = textOf(rule, "network"); !network.empty())
        html.markup("<ul class=\"links\"><li><a href=\"/sessions?q=")
            .text(percentEncoded(network))
            .markup("\">Sessions from there</a></li><li><a href=\"/rules/history?network=")
            .text(percentEncoded(network))
            .markup("\">History of this network</a></li><li><a href=\"/rules?match=")
            .text(percentEncoded(network))
            .markup("\">Rules that cover it</a></li></ul>");
    return page(viewer, Place::Rules, titleOf(rule), html);
}

// ---- why

namespace {

void addDecision(Html& html, const Viewer& viewer, const Object& decision) {
    const bool allowed = isTrue(decision, "allowed");
    const std::string listener = textOf(decision, "listener");
    html.markup("<h2>Listener ").text(listener).markup(": ");
    if (allowed)
        html.markup("<span class=\"good\">admitted</span>");
    else
        html.markup("<span class=\"bad\">refused</span>");
    html.markup("</h2>");
    const auto rule = decision.getObject("rule");
    if (!rule)
        html.markup("<p>No rule covers the address: what the listener does with all others decides.</p>");
    else
        html.add(tableOf("The rule that decides on listener " + listener, {rule}, ruleColumns(viewer)));
    std::vector<Object::Ptr> others;
    for (const auto& other : objectsOf(decision, "others"))
        if (auto one = other->getObject("rule")) {
            one->set("expired", isTrue(*other, "expired"));
            others.push_back(std::move(one));
        }
    if (others.empty()) return;
    auto columns = ruleColumns(viewer);
    columns.insert(columns.begin(),
                   {"Counts", false, [](Html& cell, const Object& one) {
                        cell.text(isTrue(one, "expired") ? "no: expired" : "no: comes after");
                    }});
    html.add(tableOf("Others that cover it on listener " + listener, others, columns));
}

}  // namespace

std::string whyPage(const Viewer& viewer, const Fields& query, const RuleNames& names,
                    const Object* decisions, std::string_view problem) {
    Html html;
    const std::string address = fieldNamed(query, "address");
    if (!problem.empty()) html.markup("<p class=\"bad\" role=\"alert\">").text(problem).markup("</p>");
    html.markup("<form class=\"search\" method=\"get\" action=\"/rules/why\" role=\"search\">");
    addInput(html, {"address", "Address of the client", address, "Such as 192.0.2.17 or 2001:db8::17"});
    addSelect(html, {"listener", "Listener", fieldNamed(query, "listener")},
              optionsOf(names.listeners, "Any"));
    html.markup("<p><button>Ask</button></p></form>");
    if (decisions != nullptr) {
        for (const auto& decision : objectsOf(*decisions, "decisions"))
            addDecision(html, viewer, *decision);
        html.markup("<ul class=\"links\"><li><a href=\"/sessions?q=").text(percentEncoded(address));
        html.markup("\">Its sessions</a></li>");
        if (viewer.may_change)
            html.markup("<li><a href=\"/rules/add?verdict=allow&amp;networks=")
                .text(percentEncoded(address))
                .markup("\">Allow it</a></li><li><a href=\"/rules/add?verdict=deny&amp;networks=")
                .text(percentEncoded(address))
                .markup("\">Deny it</a></li>");
        html.markup("</ul>");
    }
    return page(viewer, Place::Rules, "Why is an address admitted or refused?", html);
}

// ---- history

void addChangeLines(Html& html, const std::string& before, const std::string& after) {
    html.markup("<code class=\"lines\">");
    if (!before.empty()) html.markup("<del>- ").text(before).markup("</del>");
    if (!before.empty() && !after.empty()) html.markup(" ");
    if (!after.empty()) html.markup("<ins>+ ").text(after).markup("</ins>");
    html.markup("</code>");
}

namespace {

Column whatColumn() {
    return {"What", false, [](Html& cell, const Object& entry) {
                addChangeLines(cell, textOf(entry, "before"), textOf(entry, "after"));
            }};
}

Column changeColumn() {
    return {"Change", true, [](Html& cell, const Object& entry) {
                const std::string change = textOf(entry, "change");
                cell.markup("<a href=\"/rules/changes/")
                    .text(percentEncoded(change))
                    .markup("\">")
                    .text(change)
                    .markup("</a>");
            }};
}

}  // namespace

std::string historyPage(const Viewer& viewer, const Fields& query, const Object& found) {
    Html html;
    html.markup("<form class=\"search\" method=\"get\" action=\"/rules/history\" role=\"search\">");
    addInput(html, {"network", "Address, network, host:NAME or spf:DOMAIN", fieldNamed(query, "network"),
                    "Changes of rules that touch it"});
    html.markup("<p><button>Filter</button></p></form>");
    const auto changes = objectsOf(found, "changes");
    if (changes.empty())
        html.markup("<p>No rule has been changed")
            .text(isFiltered(query) ? " there." : " yet. Whoever changes one is named here.")
            .markup(" <a href=\"/rules\">All rules</a></p>");
    else
        html.add(tableOf("Who changed what, the newest first. A change can be undone on its page.", changes,
                         {timeColumn("Time", "time", ""), plain("Who", "who"), changeColumn(),
                          plain("Action", "action"), whatColumn()}));
    if (const std::string next = textOf(found, "next"); !next.empty())
        html.markup("<p><a rel=\"next\" href=\"")
            .text(linkTo("/rules/history", query, next))
            .markup("\">Older changes</a></p>");
    return page(viewer, Place::Rules, "History of the rules", html);
}

std::string changePage(const Viewer& viewer, const std::string& number, std::string_view ended,
                       const Object& found) {
    Html html;
    const auto entries = objectsOf(found, "changes");
    if (!ended.empty())
        html.markup("<p role=\"status\">Sessions that were ended: ").text(ended).markup("</p>");
    if (!entries.empty()) {
        html.markup("<p>Made by <strong>").text(textOf(*entries.front(), "who")).markup("</strong>, ");
        addTime(html, textOf(*entries.front(), "time"));
        html.markup(".</p>");
        html.add(tableOf("What was changed", entries, {plain("Action", "action"), whatColumn()}));
    }
    html.markup("<ul class=\"links\">");
    if (viewer.may_change)
        html.markup("<li><a href=\"/rules/changes/")
            .text(percentEncoded(number))
            .markup("/undo\">Undo this change</a></li>");
    html.markup(
        "<li><a href=\"/rules\">All rules</a></li><li><a href=\"/rules/history\">History</a></li></ul>");
    return page(viewer, Place::Rules, "Change " + number, html);
}

}  // namespace mailgate::console
