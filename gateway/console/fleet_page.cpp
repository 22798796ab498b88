// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/fleet_page.h"

#include "gateway/answers/fleet.h"
#include "gateway/console/page_parts.h"

#include <fmt/format.h>

#include <cstdint>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

std::int64_t numberOf(const Object& object, const char* key) {
    return object.optValue<std::int64_t>(key, 0);
}

std::uint64_t countOf(const Object& object, const char* key) {
    return object.optValue<std::uint64_t>(key, 0);
}

/// In a command that is there to be copied: a name that a shell would read otherwise is for its reader to write.
std::string typedName(const std::string& name) {
    const bool is_plain = !name.empty() && name[0] != '-' &&
                          name.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789.-_") == std::string::npos;
    return is_plain ? name : "NAME";
}

bool isSilent(const Object& member) {
    return numberOf(member, "silent_seconds") >= answers::kSilentFrom;
}

bool isDamaged(const Object& member) {
    return isTrue(member, "damaged");
}

bool isAhead(const Object& member) {
    return countOf(member, "ahead") > 0;
}

void addMemberState(Html& cell, const Object& member) {
    if (isDamaged(member))
        cell.markup("<span class=\"bad\">not known</span>, no gateway writes such a row");
    else if (isSilent(member))
        cell.markup("<span class=\"bad\">silent</span>")
            .text(fmt::format(" for {} s", numberOf(member, "silent_seconds")));
    else
        cell.markup("<span class=\"good\">up</span>");
    if (isAhead(member))
        cell.markup(", <span class=\"bad\">with a version that the database does not have</span>");
    if (const auto behind = countOf(member, "behind"); behind > 0)
        cell.markup(", <span class=\"warning\">")
            .text(fmt::format("{} behind", counted(behind, "change")))
            .markup("</span>");
}

Column timeColumn(const char* title, const char* key) {
    return {title, false, [key](Html& cell, const Object& row) { addTime(cell, textOf(row, key)); }};
}

void addMembers(Html& html, const Object& found, const std::string& self) {
    const auto members = objectsOf(found, "members");
    html.markup("<h2>Gateways</h2>");
    if (textOf(found, "rules_version").empty()) {
        html.markup("<p>Which gateways there are only the database knows.</p>");
        return;
    }
    if (members.empty()) {
        html.markup(
            "<p>No gateway has announced itself yet: <code>mailgate fleet join</code> has one take "
            "part.</p>");
        return;
    }
    html.add(tableOf("Gateways that share their rules", members,
                     {{"Gateway", false,
                       [&self](Html& cell, const Object& member) {
                           cell.text(textOf(member, "gateway"));
                           if (textOf(member, "gateway") == self) cell.markup(" <strong>(this one)</strong>");
                       }},
                      {"State", false, addMemberState},
                      plain("Version", "version"),
                      timeColumn("Started", "started"),
                      timeColumn("Last seen", "seen"),
                      number("Rules version", "rules_version")}));
    if (isTrue(found, "more_members"))
        html.markup("<p class=\"bad\">There are more, which are not shown.</p>");
}

/// What is wrong, each with what to type next.
class Wrongs {
  public:
    Html& next() {
        if (!is_empty_) list_.markup("</li>");
        list_.markup("<li>");
        is_empty_ = false;
        return list_;
    }
    void addTo(Html& html) const {
        if (is_empty_)
            html.markup("<p class=\"good\">All gateways have the fleet's rules.</p>");
        else
            html.markup("<ul class=\"alarms\">").add(list_).markup("</li></ul>");
    }

  private:
    Html list_;
    bool is_empty_ = true;
};

/// Of the database, and how this gateway stands to it.
void addStandingWrongs(Wrongs& wrongs, const Object& found, const Object& here) {
    const auto standing = found.getObject("standing");
    const std::string age =
        standing ? fmt::format(", {:.0f} s old", standing->optValue<double>("lag_seconds", 0)) : "";
    if (const std::string failure = textOf(found, "failure"); !failure.empty()) {
        wrongs.next()
            .text(fmt::format("{}. The rules stay as they are{}. Meanwhile ", asSentence(failure), age))
            .markup(
                "<code>mailgate access deny NET --here --expires 1d</code> makes a rule of this gateway "
                "alone.");
        return;
    }
    const std::string why = textOf(here, "failure"),
                      seen = standing ? textOf(*standing, "failure") : std::string();
    if (!why.empty()) wrongs.next().text(fmt::format("This gateway: {}.", why));
    if (!seen.empty() && seen != why)
        wrongs.next()
            .text(fmt::format(
                "This gateway does not follow the fleet: {}. Its rules stay as they are{}: ", seen, age))
            .markup("<code>mailgate status</code>");
}

/// What of the gateways' journals the fleet's does not have.
void addMissing(Html& html, const std::string& name, const Object& missing) {
    const std::uint64_t records = countOf(missing, "records");
    html.text(fmt::format("{}{} of {}", isTrue(missing, "exact") ? "" : "up to ", counted(records, "record"),
                          name));
    if (const std::string from = textOf(missing, "from"); !from.empty()) {
        html.markup(" from ");
        addTime(html, from);
    }
    html.markup(" to ");
    addTime(html, textOf(missing, "to"));
    html.text(records == 1 ? " is" : " are")
        .markup(
            " missing among the fleet's sessions: its own journal had removed them before they got there. "
            "<code>keep</code> and <code>max_size</code> in <code>[journal]</code> there say how long it "
            "keeps them.");
}

void addMemberWrongs(Wrongs& wrongs, const Object& found) {
    for (const auto& member : objectsOf(found, "members")) {
        const std::string name = textOf(*member, "gateway");
        if (isSilent(*member))
            wrongs.next()
                .text(name)
                .markup(
                    " is silent: <code>mailgate status</code> there says why. One that is gone for good: ")
                .markup("<code>mailgate fleet forget ")
                .text(typedName(name))
                .markup("</code>");
        if (const auto missing = member->getObject("missing")) addMissing(wrongs.next(), name, *missing);
        if (isDamaged(*member))
            wrongs.next()
                .text(name)
                .markup(
                    " has a row in the database that no gateway writes. It comes back as it should be where "
                    "there is such "
                    "a gateway, once it is gone: <code>mailgate fleet forget ")
                .text(typedName(name))
                .markup("</code>");
        if (isAhead(*member))
            wrongs.next().text(name).markup(
                " has a version of the rules that the database does not have. Was the database restored "
                "from a backup? <code>mailgate fleet join --dry-run</code> there shows what would come "
                "together.");
    }
}

void addLocalWrongs(Wrongs& wrongs, const Object& here) {
    const auto added = countOf(here, "rules_added_here"), changed = countOf(here, "rules_changed_here");
    if (added > 0)
        wrongs.next()
            .text(fmt::format("{} of this gateway {} its own, made with ", counted(added, "rule"),
                              added == 1 ? "is" : "are"))
            .markup("--here (<a href=\"/rules?set=here\">the set here</a>) or with the sqlite3 shell.");
    if (changed > 0)
        wrongs.next().text(fmt::format(
            "{} of the fleet's {} changed on this gateway alone, with the sqlite3 shell or before, or "
            "cannot be read here.",
            counted(changed, "rule"), changed == 1 ? "was" : "were"));
    if (added + changed > 0)
        wrongs.next().markup(
            "<code>mailgate fleet push --dry-run</code> shows these rules, and <code>mailgate fleet "
            "push</code> gives them to the fleet.");
}

void addKnownFact(Html& html, const char* what, const std::string& fact) {
    html.markup("<dt>")
        .text(what)
        .markup("</dt><dd>")
        .text(fact.empty() ? "not known" : fact)
        .markup("</dd>");
}

void addDatabase(Html& html, const Object& found) {
    html.markup("<h2>Database</h2><dl>");
    addKnownFact(html, "URL", textOf(found, "url"));
    const bool answers = textOf(found, "failure").empty();
    html.markup("<dt>State</dt><dd>");
    if (answers)
        html.markup("<span class=\"good\">it answers</span>");
    else
        html.markup("<span class=\"bad\">it does not answer</span>");
    const auto standing = found.getObject("standing");
    if (const std::string since = standing ? textOf(*standing, "since") : ""; !since.empty()) {
        if (isTrue(*standing, "connected"))
            html.markup("; this gateway has followed it since ");
        else
            html.markup("; this gateway has gone without it since ");
        addTime(html, since);
    }
    html.markup("</dd>");
    if (standing && isTrue(*standing, "connected"))
        addKnownFact(html, "Changes",
                     isTrue(*standing, "notified") ? "it notifies of them" : "this gateway asks for them");
    addKnownFact(html, "Rules version", textOf(found, "rules_version"));
    html.markup("</dl>");
}

/// Null where the database does not answer.
void addDrains(Html& html, const Object& found) {
    if (!found.isArray("drains")) return;
    const auto drains = objectsOf(found, "drains");
    html.markup("<h2>Servers drained everywhere</h2>");
    if (drains.empty()) {
        html.markup(
            "<p>None: <code>mailgate server drain UPSTREAM/SERVER --everywhere</code> takes one out of "
            "service at "
            "all gateways.</p>");
        return;
    }
    html.add(tableOf("What gets no new sessions at any gateway", drains,
                     {plain("Upstream", "upstream"), plain("Server", "server"), timeColumn("Since", "since"),
                      plain("By", "by")}));
    html.markup(
        "<p class=\"soft\"><code>mailgate server ready UPSTREAM/SERVER --everywhere</code> puts one "
        "back.</p>");
}

void addHere(Html& html, const Object& here) {
    html.markup("<h2>This gateway</h2><dl>");
    addKnownFact(html, "Name", textOf(here, "gateway"));
    addKnownFact(html, "Sessions now", textOf(here, "sessions"));
    addKnownFact(html, "Rules version", textOf(here, "rules_version"));
    addKnownFact(html, "Rules that it alone has", textOf(here, "rules_added_here"));
    addKnownFact(html, "Rules of the fleet that are others here", textOf(here, "rules_changed_here"));
    html.markup("</dl>");
}

}  // namespace

std::string fleetPage(const Viewer& viewer, const Object& found) {
    const Object::Ptr part = found.getObject("here");
    const Object& here = part ? *part : found;
    Wrongs wrongs;
    addStandingWrongs(wrongs, found, here);
    addMemberWrongs(wrongs, found);
    addLocalWrongs(wrongs, here);
    Html html;
    wrongs.addTo(html);
    addMembers(html, found, textOf(here, "gateway"));
    addDrains(html, found);
    addHere(html, here);
    addDatabase(html, found);
    return page(viewer, Place::Fleet, "Fleet", html);
}

}  // namespace mailgate::console
