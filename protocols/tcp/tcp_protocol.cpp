// SPDX-License-Identifier: Apache-2.0
#include "protocols/tcp/tcp_protocol.h"

#include "protocols/tcp/header_screen.h"

namespace mailgate::tcp {

namespace {

std::unique_ptr<StreamFilter> makeFilter(SessionFacts& /*facts*/, const ScreenConfig& screen,
                                         MailSink* /*sink*/) {
    return screen.no_header ? std::make_unique<HeaderScreen>() : nullptr;
}

/// An open connection says "up".
std::unique_ptr<Dialogue> makeProbeDialogue(const RefusalNames& /*names*/) {
    return std::make_unique<Silence>();
}

}  // namespace

constinit const ProtocolTraits kTcp{
    .protocol = Protocol::Tcp,
    .make_filter = makeFilter,
    .make_probe_dialogue = makeProbeDialogue,
};

}  // namespace mailgate::tcp
