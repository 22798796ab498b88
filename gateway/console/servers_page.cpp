// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/servers_page.h"

#include "gateway/console/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

std::string nameOf(const Object& server) {
    return textOf(server, "upstream") + "/" + textOf(server, "server");
}

std::string pathOf(const std::string& upstream, const std::string& server) {
    return "/servers/" + percentEncoded(upstream) + "/" + percentEncoded(server);
}

void addOrder(Html& cell, const std::string& since, const std::string& by) {
    if (since.empty() && by.empty()) return;
    cell.markup(" <span class=\"soft\">");
    if (!since.empty()) cell.markup("since ");
    addTime(cell, since);
    if (!by.empty()) cell.markup(" by ").text(by);
    cell.markup("</span>");
}

/// `drains`: what is drained at all gateways of a fleet.
void addState(Html& cell, const Object& server, const std::vector<Object::Ptr>& drains) {
    if (!isTrue(server, "draining")) {
        cell.text(isTrue(server, "backup") ? "ready, as a backup" : "ready");
        return;
    }
    const std::string since = textOf(server, "drained_since"), by = textOf(server, "drained_by");
    const auto everywhere =
        std::ranges::find_if(drains, [&](const auto& drain) { return nameOf(*drain) == nameOf(server); });
    cell.markup("<span class=\"warning\">drained</span>");
    if (everywhere == drains.end()) return addOrder(cell, since, by);
    const std::string all_since = textOf(**everywhere, "since"), all_by = textOf(**everywhere, "by");
    // Drained by itself before, or by an earlier order for all.
    if (since != all_since || by != all_by) {
        addOrder(cell, since, by);
        cell.markup(",");
    }
    cell.markup(" everywhere");
    addOrder(cell, all_since, all_by);
}

void addCheck(Html& cell, const Object& server) {
    if (isTrue(server, "healthy"))
        cell.markup("<span class=\"good\">up</span>");
    else
        cell.markup("<span class=\"bad\">down</span>");
    if (const std::string reason = textOf(server, "reason"); !reason.empty()) cell.markup(": ").text(reason);
    if (const std::string changed = textOf(server, "changed"); !changed.empty()) {
        cell.markup(" <span class=\"soft\">since ");
        addTime(cell, changed);
        cell.markup("</span>");
    }
}

void addButton(Html& cell, const Viewer& viewer, const Object& server, const char* order,
               const std::string& words) {
    beginForm(cell, viewer, pathOf(textOf(server, "upstream"), textOf(server, "server")) + "/" + order);
    cell.markup("<button class=\"plain\" aria-label=\"")
        .text(fmt::format("{} {}", words, nameOf(server)))
        .markup("\">")
        .text(words)
        .markup("</button></form>");
}

/// A server with several addresses has its orders at the first.
void addServerOrders(Html& cell, const Viewer& viewer, const Object& server) {
    cell.markup("<div class=\"buttons\">");
    if (isTrue(server, "draining"))
        addButton(cell, viewer, server, "ready", "Put back");
    else
        cell.markup("<a href=\"")
            .text(pathOf(textOf(server, "upstream"), textOf(server, "server")))
            .markup("/drain\" aria-label=\"Drain ")
            .text(nameOf(server))
            .markup("\">Drain</a> ");
    addButton(cell, viewer, server, "probe", "Probe");
    cell.markup("</div>");
}

bool takesSessions(const Object& server) {
    return isTrue(server, "healthy") && !isTrue(server, "draining");
}

void addAnswer(Html& html, const char* what, const Object& report, const char* key) {
    const auto answer = report.getObject(key);
    if (!answer) return;
    html.markup("<dt>").text(what).markup("</dt><dd>");
    if (isTrue(*answer, "accepted"))
        html.markup("<span class=\"good\">accepted</span>");
    else
        html.markup("<span class=\"bad\">refused</span>: ").text(textOf(*answer, "reason"));
    html.markup("</dd>");
}

void addFact(Html& html, const char* what, const std::string& fact) {
    if (!fact.empty()) html.markup("<dt>").text(what).markup("</dt><dd>").text(fact).markup("</dd>");
}

void addReport(Html& html, const Object& report) {
    html.markup("<h2>").text(textOf(report, "address")).markup("</h2>");
    const auto advice = textsOf(report, "advice");
    if (advice.empty()) html.markup("<p class=\"good\">It accepts what mailgate is configured to send.</p>");
    if (!advice.empty()) {
        html.markup("<ul class=\"alarms\">");
        for (const std::string& line : advice)
            html.markup("<li>").text(line).markup("</li>");
        html.markup("</ul>");
    }
    html.markup("<dl>");
    addFact(html, "Connection", textOf(report, "unreachable"));
    if (textOf(report, "unreachable").empty())
        addFact(html, "Without a header",
                isTrue(report, "greets_without_header") ? "it greets" : "it does not greet");
    addAnswer(html, "v1", report, "v1");
    addAnswer(html, "v2", report, "v2");
    addAnswer(html, "IPv6 clients (TCP6)", report, "tcp6");
    addAnswer(html, "Checks (LOCAL)", report, "local");
    if (const auto tls = report.getObject("tls")) {
        addFact(html, "TLS", fmt::format("{}, {}", textOf(*tls, "version"), textOf(*tls, "cipher")));
        addFact(html, "Certificate", textOf(*tls, "subject"));
        addFact(html, "Refused", textOf(*tls, "refused"));
    }
    if (const auto largest = report.optValue<std::uint64_t>("largest_header", 0); largest > 0)
        addFact(html, "Largest header", fmt::format("{} bytes", largest));
    html.markup("</dl>");
}

}  // namespace

std::string serversPage(const Viewer& viewer, const Object& found, const std::vector<Object::Ptr>& drains) {
    Html html;
    const auto servers = objectsOf(found, "servers");
    std::vector<Column> columns{
        plain("Upstream", "upstream"),
        plain("Server", "server"),
        plain("Address", "address"),
        {"State", false, [&drains](Html& cell, const Object& server) { addState(cell, server, drains); }},
        {"Last check", false, addCheck},
        number("Weight", "weight"),
        number("Sessions", "sessions"),
        number("In all", "sessions_total"),
        number("Failures", "failures_total"),
        {"Certificate until", false,
         [](Html& cell, const Object& server) { addTime(cell, textOf(server, "certificate_not_after")); }}};
    std::set<std::string> seen;
    if (viewer.may_change)
        columns.push_back({"Orders", false, [&viewer, &seen](Html& cell, const Object& server) {
                               if (seen.insert(nameOf(server)).second) addServerOrders(cell, viewer, server);
                           }});
    if (servers.empty())
        html.markup(
            "<p>No server has an address yet: the names in the configuration cannot be resolved. "
            "<code>mailgate check</code> says which.</p>");
    else
        html.add(tableOf("Where sessions go", servers, columns));
    html.markup(
        "<p class=\"soft\">A drained server gets no new sessions, those that it has go on. A probe tries "
        "which "
        "PROXY headers a server accepts, which takes seconds and shows in its log; it is what <code>mailgate "
        "probe UPSTREAM/SERVER</code> does.");
    if (!drains.empty())
        html.markup(
            " What is drained everywhere, which <a href=\"/fleet\">the fleet</a> lists, is put back here for "
            "this "
            "gateway alone, and with <code>mailgate server ready UPSTREAM/SERVER --everywhere</code> for "
            "all.");
    html.markup("</p>");
    return page(viewer, Place::Servers, "Servers", html);
}

std::string drainPage(const Viewer& viewer, const std::string& upstream, const std::string& server,
                      const Object& found) {
    Html html;
    std::uint64_t sessions = 0;
    std::size_t others = 0;
    for (const auto& one : objectsOf(found, "servers")) {
        if (textOf(*one, "upstream") != upstream) continue;
        if (textOf(*one, "server") == server)
            sessions += one->optValue<std::uint64_t>("sessions", 0);
        else if (takesSessions(*one))
            ++others;
    }
    html.markup("<p>")
        .text(fmt::format("{} with it now: they go on until they end. New ones go to other servers, after a "
                          "restart, too, until the server is put back.",
                          counted(sessions, "session")))
        .markup("</p>");
    if (others == 0)
        html.markup("<p class=\"bad\" role=\"alert\"><strong>")
            .text(fmt::format(
                "No other server of {} takes sessions: clients will be told to try again later.", upstream))
            .markup("</strong></p>");
    beginForm(html, viewer, pathOf(upstream, server) + "/drain");
    html.markup(
        "<p class=\"buttons\"><button class=\"danger\">Drain</button> <a href=\"/servers\">Leave it as it "
        "is</a></p></form>");
    return page(viewer, Place::Servers, fmt::format("Drain {}/{}?", upstream, server), html);
}

std::string probePage(const Viewer& viewer, const std::string& name, const Object& found) {
    Html html;
    for (const auto& report : objectsOf(found, "servers"))
        addReport(html, *report);
    html.markup("<p><a href=\"/servers\">Servers</a></p>");
    return page(viewer, Place::Servers, "Probe of " + name, html);
}

// ---- requests

namespace {

constexpr int kRoleMissing = 403, kNothingThere = 404, kWrongMethod = 405;

bool isKnown(const Object& found, const std::string& upstream, const std::string& server) {
    for (const auto& one : objectsOf(found, "servers"))
        if (textOf(*one, "upstream") == upstream && textOf(*one, "server") == server) return true;
    return false;
}

/// What the fleet's database says of that, as far as it answers; not asked where it would be of no use.
std::vector<Object::Ptr> drainedEverywhere(const Question& question, const Object& found) {
    const auto servers = objectsOf(found, "servers");
    const bool is_any =
        std::ranges::any_of(servers, [](const auto& one) { return isTrue(*one, "draining"); });
    if (!is_any || !question.viewer().has_fleet) return {};
    const Answer fleet = question.answerTo({.path = {"fleet"}});
    return fleet.ok() ? objectsOf(*fleet.object, "drains") : std::vector<Object::Ptr>();
}

}  // namespace

bool isOrderToServer(const std::vector<std::string>& path) {
    return path.size() == 4 && path[0] == "servers" &&
           (path[3] == "drain" || path[3] == "ready" || path[3] == "probe");
}

std::string orderInWords(const std::vector<std::string>& path) {
    const std::string name = path[1] + "/" + path[2];
    if (path[3] == "drain") return "Drain " + name + ": it gets no new sessions.";
    return path[3] == "ready" ? "Put " + name + " back: it gets sessions again." : "Probe " + name + ".";
}

api::Response serversScreen(const Question& question, const PageRequest& request) {
    const Viewer viewer = question.viewer();
    const auto& path = request.path;
    const bool is_post = request.method == "POST";
    const auto message = [&](const char* heading, const char* sentence, int status) {
        return htmlResponse(messagePage(viewer, heading, sentence), status);
    };
    if (path.size() == 1)
        return question.ask("GET", {"servers"}, {}, [&](const Object& found) {
            return htmlResponse(serversPage(viewer, found, drainedEverywhere(question, found)));
        });
    if (!isOrderToServer(path)) return message("Not found", "There is no such page.", kNothingThere);
    if (!viewer.may_change)
        return message("Not possible", "Orders to servers need the role operator or admin.", kRoleMissing);
    if (!is_post && path[3] != "drain")
        return message("Not possible", "This is for a button of the page of servers.", kWrongMethod);
    if (!is_post)
        return question.ask("GET", {"servers"}, {}, [&](const Object& found) {
            if (!isKnown(found, path[1], path[2]))
                return message("Not found", "No server has that name.", kNothingThere);
            return htmlResponse(drainPage(viewer, path[1], path[2], found));
        });
    return question.ask("POST", path, {}, [&](const Object& answer) {
        if (path[3] == "probe") return htmlResponse(probePage(viewer, path[1] + "/" + path[2], answer));
        return redirection("/servers");
    });
}

}  // namespace mailgate::console
