// SPDX-License-Identifier: Apache-2.0
/// \file  The console's pages, made of what the API answers, so that they show what it shows and nothing else. They need no
/// scripts. Pure functions.
#pragma once

#include "gateway/console/forms.h"
#include "gateway/console/layout.h"

#include <Poco/JSON/Object.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::console {

/// `why`: what was wrong with the attempt before; may be empty.
std::string logInPage(std::string_view why);
/// To who has sent a form after the session's end: what to do so that nothing is typed twice.
std::string sessionOverPage();
/// What was sent from a page of an earlier log-in, to be sent again if the viewer wants that.
struct Again {
    Place place = Place::None;
    std::string path;  ///< where to
    Fields fields{};   ///< without what tells of the log-in
    std::string what;  ///< a sentence, of what would be done; empty: that is shown next
    std::string button;
    std::string_view back;  ///< the path of who does not want it
};
std::string againPage(const Viewer& viewer, const Again& again);
/// Of the API's /status, and of /sessions/day; null: that is not known.
/// `at_ms`: when the status was that, since 1970.
std::string overviewPage(const Viewer& viewer, const Poco::JSON::Object& status, std::int64_t at_ms,
                         const Poco::JSON::Object* day = nullptr);
/// The parts of it that refresh themselves; nothing in them is of one person.
Html overviewPart(const Poco::JSON::Object& status, std::int64_t at_ms,
                  const Poco::JSON::Object* day = nullptr);
/// Of its /sessions; `asked`: the text that is looked for; `whose`: what of the query says whose journals are asked.
std::string sessionsPage(const Viewer& viewer, const std::string& asked, const Poco::JSON::Object& found,
                         const Fields& whose = {});
/// Of its /sessions/live.
std::string liveSessionsPage(const Viewer& viewer, const Poco::JSON::Object& found);
/// The part of it that refreshes itself; nothing in it is of one person.
Html liveSessionsPart(bool may_change, const Poco::JSON::Object& found);
/// Of its /sessions/ID.
std::string sessionPage(const Viewer& viewer, const Poco::JSON::Object& found);
/// What is asked before the session is ended.
std::string endSessionPage(const Viewer& viewer, const std::string& id);
/// Of a problem document, or of anything that has gone well: `heading`, and a sentence. `next`: what can be done then.
std::string messagePage(const Viewer& viewer, std::string_view heading, std::string_view sentence,
                        const Html& next = {});

}  // namespace mailgate::console
