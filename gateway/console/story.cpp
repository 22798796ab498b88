// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/story.h"

#include "gateway/console/page_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::console {

namespace {

using Poco::JSON::Object;

/// Since the connection was accepted; none: it is not known when.
using Moment = std::optional<std::int64_t>;

Moment millisecondsIn(const Object& session, const char* key) {
    const auto value = session.get(key);
    return value.isNumeric() ? Moment(value.convert<std::int64_t>()) : std::nullopt;
}

Moment later(Moment moment, Moment by) {
    return moment && by ? Moment(*moment + *by) : std::nullopt;
}

class Story {
  public:
    void add(Moment moment, const std::string& sentence) {
        html_.markup("<li><span class=\"moment\">");
        if (moment) html_.text(fmt::format("{} ms", *moment));
        html_.markup("</span> ").text(sentence).markup("</li>");
    }
    Html html() const { return Html().markup("<ol class=\"story\">").add(html_).markup("</ol>"); }

  private:
    Html html_;
};

void addArrival(Story& story, const Object& session) {
    const std::string client = textOf(session, "client"), balancer = textOf(session, "balancer");
    std::string to = textOf(session, "destination");
    if (!to.empty()) to = fmt::format(" at {}, port {},", to, textOf(session, "destination_port"));
    const std::string listener = textOf(session, "listener");
    story.add(0, balancer.empty() ? fmt::format("{} connected{} to listener {}", client, to, listener)
                                  : fmt::format("{} connected{} to listener {}, by the balancer {}", client,
                                                to, listener, balancer));
}

void addVerdict(Story& story, const Object& session, Moment header) {
    const std::string rule = textOf(session, "rule");
    const std::string by = rule.empty() ? "the listener's default" : "the rule " + rule;
    if (textOf(session, "access") == "allow")
        story.add(header, "admitted by " + by);
    else if (textOf(session, "access") == "deny")
        story.add(header, textOf(session, "event") == "session.refused" ? "denied by " + by
                                                                        : by + " would have refused it");
}

void addTls(Story& story, const Object& session) {
    const auto tls = session.getObject("tls");
    if (!tls) return;
    const std::string version = textOf(*tls, "version");
    story.add({}, fmt::format("TLS ({}){}{}", textOf(*tls, "mode"), version.empty() ? "" : ": ", version));
}

void addLogins(Story& story, const Object& session) {
    if (const std::string failed = textOf(session, "failed_logins"); !failed.empty() && failed != "0") {
        const auto users = textsOf(session, "failed_users");
        story.add({}, fmt::format("{}{}{}", counted(std::stoull(failed), "refused login"),
                                  users.empty() ? "" : " as ", fmt::join(users, ", ")));
    }
    if (isTrue(session, "authenticated")) story.add({}, "logged in as " + textOf(session, "user"));
}

void addMail(Story& story, const Object& mail) {
    const std::string from = textOf(mail, "from"), reply = textOf(mail, "reply");
    const auto recipients = textsOf(mail, "recipients");
    story.add({},
              fmt::format("mail from {} to {}", from.empty() ? "<>" : from,
                          recipients.empty() ? "nobody" : fmt::format("{}", fmt::join(recipients, ", "))));
    for (const auto& refused : objectsOf(mail, "refused"))
        story.add({}, fmt::format("not to {}: {}", textOf(*refused, "to"), textOf(*refused, "reply")));
    if (!reply.empty()) story.add({}, "the server's reply: " + reply);
}

void addClose(Story& story, const Object& session) {
    if (textOf(session, "event") == "session.refused") {
        story.add({}, "refused: " + textOf(session, "reason"));
        if (const std::string reply = textOf(session, "reply"); !reply.empty())
            story.add({}, "it got the reply: " + reply);
        return;
    }
    story.add(millisecondsIn(session, "duration_ms"),
              fmt::format("ended: {}, after {} bytes from the client and {} to it", textOf(session, "end"),
                          textOf(session, "bytes_in"), textOf(session, "bytes_out")));
}

}  // namespace

Html storyOf(const Object& session) {
    Story story;
    const Moment header = millisecondsIn(session, "header_ms");
    const Moment connected = later(header, millisecondsIn(session, "connect_ms"));
    addArrival(story, session);
    addVerdict(story, session, header);
    if (const std::string server = textOf(session, "server"); !server.empty()) {
        story.add(connected,
                  fmt::format("connected to server {} of {}", server, textOf(session, "upstream")));
        if (const Moment greeted = later(connected, millisecondsIn(session, "greeting_ms")))
            story.add(greeted, "the server's greeting");
    }
    if (const std::string helo = textOf(session, "helo"); !helo.empty())
        story.add({}, "the client says that it is " + helo);
    addTls(story, session);
    addLogins(story, session);
    for (const auto& mail : objectsOf(session, "mail"))
        addMail(story, *mail);
    addClose(story, session);
    return story.html();
}

}  // namespace mailgate::console
