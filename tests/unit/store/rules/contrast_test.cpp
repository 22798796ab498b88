// SPDX-License-Identifier: Apache-2.0
#include "store/rules/contrast.h"

#include "tests/support/networks.h"

#include <gmock/gmock.h>

namespace mailgate::rules {
namespace {

constexpr UnixSeconds kThen = 1'800'000'000;
const Site kTwoListeners{{{"mx", true, {}}, {"imap", false, {}}}, {}};

std::shared_ptr<const store::AccessTable> denying(std::string_view text,
                                                  std::optional<UnixSeconds> expires = {}) {
    store::AccessTable::Builder builder(listenerNames(kTwoListeners));
    builder.add(1, network(text), Verdict::Deny, "", expires);
    builder.add(2, network("192.0.2.0/24"), Verdict::Allow, "mx", {});
    return builder.build(1);
}

TEST(ContrastTest, SaysWhomTheRulesDecideAboutOtherwise) {
    const Contrast contrast(kTwoListeners, denying("192.0.2.1"), denying("192.0.2.2"), kThen);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.1"), "mx"), true);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.2"), "mx"), false);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.2"), "imap"), false);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.3"), "mx"), std::nullopt);
    EXPECT_EQ(contrast.decidesNow(address("203.0.113.1"), "mx"), std::nullopt);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.2"), "gone"), std::nullopt);
}

TEST(ContrastTest, AnExpiredRuleDecidesNothing) {
    const Contrast contrast(kTwoListeners, denying("192.0.2.1", kThen), denying("192.0.2.1", kThen + 1),
                            kThen);
    EXPECT_EQ(contrast.decidesNow(address("192.0.2.1"), "imap"), false);
}

}  // namespace
}  // namespace mailgate::rules
