// SPDX-License-Identifier: Apache-2.0
/// \file  One phase of a session by itself: a client, perhaps a server, and nobody who follows what the phase returns.
#pragma once

#include "gateway/session/next.h"
#include "gateway/session/session_context.h"
#include "tests/support/scripted_host.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate::test {

/// A session's events, remembered.
class RememberedTurns final : public EventHandler {
  public:
    void onEvents(unsigned slot, std::uint32_t) override { turns.push_back(slot); }
    std::vector<unsigned> turns;  ///< that were asked for with defer()
    int deadlines = 0;            ///< that have come

  private:
    void onTimer() override { ++deadlines; }
};

/// The step, if it is that one.
template <typename Step>
const Step& expectStep(const Next& step) {
    EXPECT_TRUE(std::holds_alternative<Step>(step)) << "step " << step.index();
    static const Step none{};
    const auto* found = std::get_if<Step>(&step);
    return found ? *found : none;
}

class PhaseTest : public ::testing::Test {
  protected:
    void arrive(Config config, bool expect_header = false) {
        context_.reset();
        host_ = std::make_unique<ScriptedHost>(std::move(config));
        context_ = std::make_unique<SessionContext>(*host_, events_, host_->arrival(expect_header),
                                                    ScriptedHost::local());
        client_ = std::make_shared<ScriptedPeer>();
        context_->client() = std::make_unique<ScriptedTransport>(client_);
    }
    /// One whose client is known.
    void arriveAdmitted(Config config) {
        arrive(std::move(config));
        SessionRecord& record = context_->record;
        record.header_done = record.at(record.start);
        record.client = {*IpAddress::parse("198.51.100.7"), 55555};
        context_->admitted = true;
    }
    /// ... and whose server has greeted it.
    void arriveGreeted(Config config, std::string_view greeting) {
        arriveAdmitted(std::move(config));
        server_ = std::make_shared<ScriptedPeer>();
        context_->useServer(context_->record.pool().endpoints().front());
        context_->record.connected = context_->record.at(host_->now());
        context_->server() = std::make_unique<ScriptedTransport>(server_);
        ASSERT_TRUE(context_->relay.receive(Side::Server, greeting, false));
    }

    template <typename Phase>
    Next clientEvent(Phase& phase, std::uint32_t events) {
        context_->client()->note(events);
        return phase.onClient(events);
    }
    template <typename Phase>
    Next clientSends(Phase& phase, std::string_view bytes) {
        client_->sends(bytes);
        return clientEvent(phase, kReadable);
    }
    template <typename Phase>
    Next clientCloses(Phase& phase) {
        client_->finished = true;
        return clientEvent(phase, kReadable | kHangup);
    }
    void clientTakesAll() { client_->room = std::numeric_limits<std::size_t>::max(); }

    RememberedTurns events_;
    std::unique_ptr<ScriptedHost> host_;
    std::shared_ptr<ScriptedPeer> client_, server_;
    std::unique_ptr<SessionContext> context_;
};

}  // namespace mailgate::test
