// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/pages.h"

#include "gateway/console/page_parts.h"
#include "gateway/console/story.h"

#include <Poco/JSON/Array.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::console {

namespace {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;

/// `of_fleet`: another gateway may have had it.
void addSessionLink(Html& html, const Object& row, bool of_fleet) {
    const std::string id = textOf(row, "session");
    html.markup("<a href=\"/sessions/").text(percentEncoded(id));
    if (of_fleet) html.text("?gateway=" + percentEncoded(textOf(row, "gateway")));
    html.markup("\">");
    addTime(html, textOf(row, row.has("time") ? "time" : "started"));
    html.markup("</a>");
}

// ---- overview

void addAlarms(Html& html, const Object& status) {
    std::vector<std::string> alarms;
    const auto addresses = status.getArray("address_alarms");
    for (std::size_t at = 0; addresses && at < addresses->size(); ++at)
        alarms.push_back(fmt::format(
            "Most sessions of listener {} come from one private address: the clients' own are being lost",
            textOf(addresses->get(static_cast<unsigned>(at)))));
    if (isTrue(status, "draining")) alarms.emplace_back("The gateway is stopping");
    if (isTrue(status, "last_reload_failed"))
        alarms.emplace_back("The last reload was refused: mailgate check says why");
    if (const auto change = status.getObject("config_change")) {
        const auto keys = change->getArray("restart");
        const bool is_refused = !textOf(*change, "refused").empty(), restarts = keys && keys->size() > 0;
        alarms.push_back(
            fmt::format("The configuration was changed in its files, and is not loaded: {}",
                        is_refused ? "a reload would fail, and perhaps a restart: mailgate check says why"
                        : restarts ? "some of it can only change with a restart: mailgate status names it"
                                   : "mailgate reload"));
    }
    for (const auto& files : objectsOf(status, "tls_files"))
        if (const std::string failure = textOf(*files, "failure"); !failure.empty())
            alarms.push_back(fmt::format("Changed TLS files are not in use: {}", failure));
    if (const auto rules = status.getObject("rules"); rules && isTrue(*rules, "store_failed"))
        alarms.emplace_back("The access rules cannot be read: those read last stay in force");
    const auto journal = status.getObject("journal");
    if (const std::string failure = journal ? textOf(*journal, "failure") : ""; !failure.empty())
        alarms.push_back(fmt::format("The journal cannot be written: {}", failure));
    if (const std::string failure = textOf(status, "log_failure"); !failure.empty())
        alarms.push_back(fmt::format("The log fails: {}", failure));
    if (journal && journal->optValue<std::uint64_t>("lost", 0) > 0)
        alarms.push_back(fmt::format("The journal has lost {}",
                                     counted(journal->optValue<std::uint64_t>("lost", 0), "session")));
    for (const auto& listener : objectsOf(status, "listeners"))
        if (!isTrue(*listener, "available"))
            alarms.push_back(
                fmt::format("Listener {} has no server that takes sessions", textOf(*listener, "name")));
    if (alarms.empty()) return;
    html.markup("<ul class=\"alarms\">");
    for (const std::string& alarm : alarms)
        html.markup("<li>").text(alarm).markup("</li>");
    html.markup("</ul>");
}

/// For scripts: what they measure by asking for the totals again and again.
void addPlots(Html& html) {
    html.markup(
        "<section class=\"plots\" data-plots hidden aria-label=\"Rates\"><figure "
        "data-colour=\"--accent\"><figcaption>"
        "Sessions per second: <strong data-now=\"admitted refused\">-</strong></figcaption><div role=\"img\" "
        "aria-label=\"Sessions per second over the last minutes\"></div></figure><figure "
        "data-colour=\"--bad\">"
        "<figcaption>Refused per second: <strong data-now=\"refused "
        "turned_away\">-</strong></figcaption><div "
        "role=\"img\" aria-label=\"Refused per second over the last minutes\"></div></figure></section>");
}

/// What scripts measure by is in the totals and when they were that.
void addNow(Html& html, const Object& status, std::int64_t at_ms, const Object* day) {
    const auto totals = status.getObject("totals");
    html.markup(
            "<div id=\"now\" data-live hx-get=\"/\" hx-trigger=\"refresh\" hx-select=\"#now\" "
            "hx-select-oob=\"#now-tables\" hx-swap=\"outerHTML\" hx-sync=\"this:drop\" data-at=\"")
        .text(fmt::to_string(at_ms))
        .markup("\" data-started=\"")
        .text(textOf(status, "started"));
    if (totals)
        html.markup("\" data-admitted=\"")
            .text(textOf(*totals, "admitted"))
            .markup("\" data-refused=\"")
            .text(textOf(*totals, "refused"))
            .markup("\" data-turned_away=\"")
            .text(textOf(*totals, "turned_away"));
    html.markup("\">");
    addAlarms(html, status);
    html.markup("<dl><dt>Gateway</dt><dd>").text(textOf(status, "name")).markup(" (mailgate ");
    html.text(textOf(status, "version")).markup(")</dd><dt>Since</dt><dd>");
    addTime(html, textOf(status, "started"));
    html.markup("</dd><dt>Sessions now</dt><dd>").text(textOf(status, "live")).markup(" of ");
    html.text(textOf(status, "max_sessions")).markup("</dd>");
    for (const auto& [title, key] :
         {std::pair("Admitted", "admitted"), std::pair("Refused by rules", "refused"),
          std::pair("Turned away", "turned_away")})
        html.markup("<dt>")
            .text(title)
            .markup("</dt><dd>")
            .text(totals ? textOf(*totals, key) : "")
            .markup("</dd>");
    if (day != nullptr)
        html.markup("<dt>Last 24 hours</dt><dd>")
            .text(fmt::format("{}, {} refused, {} with failed logins",
                              counted(day->optValue<std::uint64_t>("sessions", 0), "session"),
                              textOf(*day, "refused"), textOf(*day, "failed_logins")))
            .markup("</dd>");
    html.markup("</dl></div>");
}

void addNowTables(Html& html, const Object& status) {
    html.markup("<div id=\"now-tables\"><h2>Listeners</h2>");
    html.add(tableOf("What clients connect to", objectsOf(status, "listeners"),
                     {plain("Name", "name"), plain("Protocol", "protocol"), plain("Mode", "mode"),
                      number("Now", "live"), number("Accepted", "accepted"), number("Admitted", "admitted"),
                      number("Refused", "refused"), number("Failed logins", "failed_logins")}));
    html.markup("<h2>Servers</h2>");
    html.add(tableOf("Where sessions go", objectsOf(status, "servers"),
                     {plain("Upstream", "upstream"),
                      plain("Server", "server"),
                      plain("Address", "address"),
                      {"Health", false, addHealth},
                      number("Sessions", "sessions"),
                      number("In all", "sessions_total"),
                      number("Failures", "failures_total")}));
    html.markup("<h2>Balancers</h2>");
    const auto totals = status.getObject("totals");
    const auto rejections = totals ? objectsOf(*totals, "rejections") : std::vector<Object::Ptr>();
    if (rejections.empty())
        html.markup("<p>No PROXY header has been rejected since the start.</p>");
    else
        html.add(
            tableOf("Connections closed because of their PROXY header", rejections,
                    {plain("Balancer", "balancer"), plain("Reason", "reason"), number("Count", "count")}));
    html.markup("</div>");
}

// ---- a session

std::string sessionsLink(const Fields& query) {
    std::string link = "/sessions";
    for (const auto& [name, value] : query)
        link += fmt::format("{}{}={}", link.find('?') == std::string::npos ? '?' : '&', name,
                            percentEncoded(value));
    return link;
}

Fields both(Fields query, const Fields& further) {
    query.insert(query.end(), further.begin(), further.end());
    return query;
}

const Fields kAllGateways{{"gateways", "all"}};

void addSearch(Html& html, const Viewer& viewer, const std::string& asked, const Fields& whose) {
    html.markup(
            "<form class=\"search\" method=\"get\" action=\"/sessions\" role=\"search\"><p><label "
            "for=\"q\">Who sent this?</label>"
            "<input id=\"q\" name=\"q\" type=\"search\" maxlength=\"500\" accesskey=\"s\" "
            "aria-describedby=\"q-help\" value=\"")
        .text(asked)
        .markup("\"></p>");
    if (viewer.has_fleet)
        addSelect(html, {"gateways", "Seen by", whose.empty() ? "" : "all"},
                  {{"", "this gateway"}, {"all", "all gateways"}});
    html.markup(
        "<p><button>Search</button></p></form><p class=\"soft\" id=\"q-help\">An address, a "
        "network, a sender, a recipient, a "
        "user, a Message-ID, a queue id, or a session's id.</p>");
}

void addNothing(Html& html, const Viewer& viewer, const std::string& asked, const Fields& whose) {
    html.markup(
        "<p>The journal has nothing of this name. Perhaps it is older than what is kept, or still under "
        "way: <a href=\"/sessions/live\">sessions under way</a>.");
    if (viewer.has_fleet && whose.empty())
        html.markup(" Perhaps another gateway has seen it: <a href=\"")
            .text(sessionsLink(both({{"q", asked}}, kAllGateways)))
            .markup("\">ask all gateways</a>.");
    html.markup("</p>");
}

void addMeaning(Html& html, const std::string& asked, const Object& found, const Fields& whose) {
    html.markup("<p>Taken for <strong>")
        .text(textOf(*found.getObject("meaning"), "words"))
        .markup("</strong>.");
    for (const auto& other : objectsOf(found, "also"))
        html.markup(" <a href=\"")
            .text(sessionsLink(both({{"q", asked}, {"as", textOf(*other, "name")}}, whose)))
            .markup("\">Take it for ")
            .text(textOf(*other, "words"))
            .markup("</a>");
    html.markup("</p>");
}

/// Of a record of one mail that; null: there is none.
Object::Ptr firstMailOf(const Object& session) {
    const auto mail = session.getArray("mail");
    if (mail && !mail->empty()) return mail->getObject(0);
    return textOf(session, "event") == "session.mail" ? Object::Ptr(new Object(session)) : nullptr;
}

void addFirst(Html& cell, const std::string& first, std::uint64_t all) {
    cell.text(first);
    if (all > 1) cell.text(fmt::format(" and {} more", answers::grouped(all - 1)));
}

/// Of the first mail; how many more there are.
void addSender(Html& cell, const Object& session) {
    const auto first = firstMailOf(session);
    if (!first) return;
    const std::string from = textOf(*first, "from");
    const auto mail = session.getArray("mail");
    addFirst(cell, from.empty() ? "<>" : from,
             session.optValue<std::uint64_t>("mail_count", mail ? mail->size() : 1));
}

void addRecipient(Html& cell, const Object& session) {
    const auto first = firstMailOf(session);
    const auto recipients = first ? first->getArray("recipients") : nullptr;
    if (!recipients || recipients->empty()) return;
    addFirst(cell, textOf(recipients->get(0)),
             first->optValue<std::uint64_t>("recipient_count", recipients->size()));
}

void addEnd(Html& cell, const Object& session) {
    if (textOf(session, "event") == "session.refused")
        cell.markup("<span class=\"bad\">refused</span> ").text(textOf(session, "reason"));
    else
        cell.text(textOf(session, "end"));
}

}  // namespace

std::string logInPage(std::string_view why) {
    Html html;
    html.markup("<div class=\"narrow\">");
    if (!why.empty()) html.markup("<p class=\"bad\" role=\"alert\">").text(why).markup("</p>");
    html.markup(
        "<form method=\"post\" action=\"/login\"><p><label for=\"user\">Name</label><input id=\"user\" "
        "name=\"user\" "
        "autocomplete=\"username\" autocapitalize=\"none\" required autofocus></p><p><label "
        "for=\"password\">Password</label>"
        "<input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" "
        "required></p>"
        "<p><button>Log in</button></p></form></div>");
    return page({}, Place::None, "Log in", html);
}

std::string sessionOverPage() {
    Html html;
    html.markup(
        "<p role=\"alert\">Nothing was done: you had been logged out meanwhile.</p><p><a href=\"/login\" "
        "target=\"_blank\" rel=\"noopener\">Log in</a>, in another tab, and load this page again: your "
        "browser "
        "sends once more what you had sent, and you are asked before anything is done with it.</p>");
    return page({}, Place::None, "The session is over", html);
}

std::string againPage(const Viewer& viewer, const Again& again) {
    Html html;
    html.markup("<p role=\"alert\">This was sent from a page of an earlier log-in. Nothing was done.</p>");
    if (!again.what.empty()) html.markup("<p>").text(again.what).markup("</p>");
    beginForm(html, viewer, again.path, !again.fields.empty());
    for (const auto& [name, value] : again.fields)
        addHidden(html, name, value);
    html.markup("<p class=\"buttons\"><button>")
        .text(again.button)
        .markup("</button> <a href=\"")
        .text(again.back)
        .markup("\">Not now</a></p></form>");
    return page(viewer, again.place, "Send it again?", html);
}

std::string overviewPage(const Viewer& viewer, const Object& status, std::int64_t at_ms, const Object* day) {
    Html html;
    addNow(html, status, at_ms, day);
    addPlots(html);
    addNowTables(html, status);
    return page(viewer, Place::Overview, "Overview", html);
}

Html overviewPart(const Object& status, std::int64_t at_ms, const Object* day) {
    Html html;
    addNow(html, status, at_ms, day);
    addNowTables(html, status);
    return html;
}

std::string sessionsPage(const Viewer& viewer, const std::string& asked, const Object& found,
                         const Fields& whose) {
    Html html;
    addSearch(html, viewer, asked, whose);
    if (const std::string said = textOf(found, "said"); !said.empty())
        html.markup("<p class=\"soft\">").text(asSentence(said)).markup(".</p>");
    const auto meaning = found.has("meaning") ? found.getObject("meaning") : nullptr;
    if (meaning)
        addMeaning(html, asked, found, whose);
    else if (!asked.empty())
        addNothing(html, viewer, asked, whose);
    const auto sessions = objectsOf(found, "sessions");
    if (sessions.empty() && asked.empty())
        html.markup(
            "<p>No session has ended yet. Those <a href=\"/sessions/live\">under way</a> come here when they "
            "have.</p>");
    const bool of_fleet = found.has("gateways");
    std::vector<Column> columns{
        {"Time", false, [of_fleet](Html& cell, const Object& row) { addSessionLink(cell, row, of_fleet); }},
        plain("Client", "client"),
        plain("Listener", "listener"),
        plain("HELO", "helo"),
        plain("User", "user"),
        {"From", false, addSender},
        {"To", false, addRecipient},
        {"End", false, addEnd}};
    if (of_fleet) columns.insert(columns.begin() + 1, plain("Gateway", "gateway"));
    if (!sessions.empty()) html.add(tableOf("Sessions that have ended, the newest first", sessions, columns));
    if (const std::string next = textOf(found, "next"); !next.empty()) {
        Fields query{{"cursor", next}};
        if (meaning) query = both(query, {{"q", asked}, {"as", textOf(*meaning, "name")}});
        html.markup("<p><a rel=\"next\" href=\"")
            .text(sessionsLink(both(query, whose)))
            .markup("\">Older sessions</a></p>");
    }
    return page(viewer, Place::Sessions, "Sessions", html);
}

std::string liveSessionsPage(const Viewer& viewer, const Object& found) {
    return page(viewer, Place::Live, "Sessions under way", liveSessionsPart(viewer.may_change, found));
}

Html liveSessionsPart(bool may_change, const Object& found) {
    Html html;
    html.markup(
        "<div id=\"live\" data-live hx-get=\"/sessions/live\" hx-trigger=\"refresh\" hx-select=\"#live\" "
        "hx-swap=\"outerHTML\" hx-sync=\"this:drop\">");
    const auto sessions = objectsOf(found, "sessions");
    const auto all = found.optValue<std::uint64_t>("found", 0);
    if (sessions.empty())
        html.markup("<p>No session is under way. <a href=\"/sessions\">Those that have ended</a></p>");
    else
        html.add(tableOf(fmt::format("{}{} under way, the newest first",
                                     all > sessions.size() ? fmt::format("{} of ", sessions.size()) : "",
                                     counted(all, "session")),
                         sessions,
                         {{"Since", false,
                           [may_change](Html& cell, const Object& row) {
                               if (!may_change) return addTime(cell, textOf(row, "started"));
                               const std::string id = percentEncoded(textOf(row, "session"));
                               cell.markup("<a id=\"end-")
                                   .text(id)
                                   .markup("\" href=\"/sessions/")
                                   .text(id)
                                   .markup("/end\">");
                               addTime(cell, textOf(row, "started"));
                               cell.markup("</a>");
                           }},
                          plain("Client", "client"),
                          plain("Listener", "listener"),
                          plain("State", "state"),
                          plain("Server", "server"),
                          plain("HELO", "helo"),
                          plain("User", "user"),
                          plain("From", "from"),
                          number("Mails", "mail_count"),
                          number("Bytes in", "bytes_in"),
                          number("Bytes out", "bytes_out")}));
    html.markup("</div>");
    return html;
}

std::string sessionPage(const Viewer& viewer, const Object& found) {
    Html html;
    const auto lines = objectsOf(found, "sessions");
    if (!lines.empty()) html.add(storyOf(*lines.front()));
    for (std::size_t at = 0; at < lines.size(); ++at) {
        if (at == 0)
            html.markup("<h2>All that is known</h2>");
        else
            html.markup("<h2>Further mail</h2>");
        addFacts(html, *lines[at]);
    }
    const std::string client = lines.empty() ? "" : textOf(*lines.front(), "client");
    if (!client.empty())
        html.markup("<p><a href=\"")
            .text(sessionsLink(both({{"q", client}}, found.has("gateways") ? kAllGateways : Fields())))
            .markup("\">All sessions of this client</a></p>");
    return page(viewer, Place::Sessions, "Session", html);
}

std::string endSessionPage(const Viewer& viewer, const std::string& id) {
    Html html;
    html.markup(
            "<p>The client hears that the gateway ends its session, where the protocol allows that, and may "
            "connect again. Mail that is "
            "under way in it is sent again later by the client.</p><form method=\"post\" action=\"/sessions/")
        .text(percentEncoded(id))
        .markup("/end\"><input type=\"hidden\" name=\"csrf_token\" value=\"")
        .text(viewer.csrf_token)
        .markup(
            "\"><p><button class=\"danger\">End session</button> <a href=\"/sessions/live\">Leave "
            "it</a></p></form>");
    return page(viewer, Place::Live, "End session " + id + "?", html);
}

std::string messagePage(const Viewer& viewer, std::string_view heading, std::string_view sentence,
                        const Html& next) {
    Html html;
    html.markup("<p>").text(sentence).markup("</p>").add(next);
    return page(viewer, Place::None, heading, html);
}

}  // namespace mailgate::console
