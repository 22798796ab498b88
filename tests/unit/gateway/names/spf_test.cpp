// SPDX-License-Identifier: Apache-2.0
#include "gateway/names/spf.h"

#include "protocols/values/text.h"
#include "tests/support/networks.h"

#include <gmock/gmock.h>

#include <map>
#include <utility>

namespace mailgate::names {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A domain name system with a few records, all of them good for a minute.
class Records {
  public:
    Records& txt(const std::string& name, const std::string& text) { return add(name, DnsType::Txt, text); }
    Records& mx(const std::string& name, const std::string& host) { return add(name, DnsType::Mx, host); }
    Records& a(const std::string& name, std::string_view text) {
        const Network one = network(text);
        answers_[{name, one.isV4() ? DnsType::A : DnsType::Aaaa}].addresses.push_back({one.address});
        return *this;
    }
    Records& fails(const std::string& name) {
        for (const DnsType type : {DnsType::A, DnsType::Aaaa, DnsType::Txt, DnsType::Mx}) {
            answers_[{name, type}].kind = DnsAnswer::Kind::Failed;
            answers_[{name, type}].error = "mute";
        }
        return *this;
    }
    Records& isNoName(const std::string& name) {
        for (const DnsType type : {DnsType::A, DnsType::Aaaa, DnsType::Txt, DnsType::Mx})
            answers_[{name, type}].exists = false;
        return *this;
    }
    Records& ttl(const std::string& name, DnsType type, std::uint32_t ttl) {
        ttls_[{name, type}] = ttl;
        return *this;
    }

    NameAnswer resolve(std::string_view name) const {
        return resolveName(name, [this](const std::string& host, DnsType type) {
            ++asked;
            const auto found = answers_.find({host, type});
            DnsAnswer answer = found == answers_.end() ? DnsAnswer() : found->second;
            if (found == answers_.end() || answer.kind == DnsAnswer::Kind::Failed || !answer.exists)
                return answer;
            answer.kind = DnsAnswer::Kind::Found;
            const auto ttl = ttls_.find({host, type});
            answer.ttl = ttl == ttls_.end() ? 60 : ttl->second;
            return answer;
        });
    }

    mutable unsigned asked = 0;

  private:
    using Key = std::pair<std::string, DnsType>;

    Records& add(const std::string& name, DnsType type, const std::string& text) {
        answers_[{name, type}].texts.push_back(text);
        return *this;
    }

    std::map<Key, DnsAnswer> answers_;
    std::map<Key, std::uint32_t> ttls_;
};

std::vector<std::string> networksOf(const NameAnswer& answer) {
    EXPECT_EQ(answer.error, "");
    std::vector<std::string> networks;
    for (const Network& each : answer.networks)
        networks.push_back(each.toString());
    return networks;
}

/// The networks that a record lets pass, or why none.
std::vector<std::string> passing(const std::string& record, Records records = {}) {
    const auto answer = records.txt("example.org", "v=spf1 " + record).resolve("spf:example.org");
    return answer.error.empty() ? networksOf(answer) : std::vector<std::string>{answer.error};
}

TEST(ResolveName, AHostIsItsAddresses) {
    Records records;
    records.a("home.example.org", "203.0.113.9")
        .a("home.example.org", "2001:db8::9")
        .a("home.example.org", "203.0.113.9");
    records.ttl("home.example.org", DnsType::Aaaa, 30);
    const auto answer = records.resolve("host:home.example.org");
    EXPECT_THAT(networksOf(answer), ElementsAre("203.0.113.9", "2001:db8::9"));
    EXPECT_EQ(answer.ttl, 30u);
    EXPECT_EQ(records.resolve("host:nobody.example.org").error, "nobody.example.org has no address");
    EXPECT_EQ(records.isNoName("typo.example.org").resolve("host:typo.example.org").error,
              "typo.example.org does not exist (NXDOMAIN)");
    EXPECT_EQ(records.resolve("spf:typo.example.org").error, "typo.example.org does not exist (NXDOMAIN)");
    EXPECT_EQ(records.fails("mute.example.org").resolve("host:mute.example.org").error, "mute");
}

// Of a record it would be: an exception could be in the other half.
TEST(ResolveName, HalfAnAnswerIsOneOfAHostAlone) {
    DnsType known = DnsType::A;
    const auto query = [&](const std::string&, DnsType type) {
        DnsAnswer one;
        one.kind = type == known ? DnsAnswer::Kind::Found : DnsAnswer::Kind::Failed;
        one.error = "mute";
        if (type == DnsType::Txt) {
            one.kind = DnsAnswer::Kind::Found;
            one.texts = {"v=spf1 a:h.example.org -all"};
        } else if (type == known) {
            one.addresses.push_back({network(known == DnsType::A ? "192.0.2.1" : "2001:db8::1").address});
        }
        return one;
    };
    auto answer = resolveName("host:h.example.org", query);
    EXPECT_THAT(networksOf(answer), ElementsAre("192.0.2.1"));
    EXPECT_EQ(answer.missing, DnsType::Aaaa);
    EXPECT_EQ(resolveName("spf:example.org", query).error, "mute");
    known = DnsType::Aaaa;
    answer = resolveName("host:h.example.org", query);
    EXPECT_THAT(networksOf(answer), ElementsAre("2001:db8::1"));
    EXPECT_EQ(answer.missing, DnsType::A);
    known = DnsType::Mx;
    answer = resolveName("host:h.example.org", query);
    EXPECT_EQ(answer.error, "mute");
    EXPECT_THAT(answer.networks, IsEmpty());
}

TEST(ResolveName, OfARecordWhatItLetsPass) {
    EXPECT_THAT(passing("ip4:192.0.2.0/24 +IP4:198.51.100.7/24 ip6:2001:db8::1/32 -all"),
                ElementsAre("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"));
    EXPECT_THAT(passing("ip4:192.0.2.1 exp=why.example.org unknown=x ~all ip4:198.51.100.1"),
                ElementsAre("192.0.2.1"));
    EXPECT_THAT(passing("a a:b.example.org/28 -all",
                        Records().a("example.org", "192.0.2.1").a("b.example.org", "198.51.100.18")),
                ElementsAre("192.0.2.1", "198.51.100.16/28"));
    EXPECT_THAT(passing("mx/24//64", Records()
                                         .mx("example.org", "m.example.org")
                                         .a("m.example.org", "192.0.2.9")
                                         .a("m.example.org", "2001:db8::9")),
                ElementsAre("192.0.2.0/24", "2001:db8::/64"));
}

TEST(ResolveName, RecordsLeadToOthers) {
    EXPECT_THAT(passing("include:_a.example.net redirect=_b.example.net",
                        Records()
                            .txt("_a.example.net", "v=spf1 ip4:192.0.2.1 -all")
                            .txt("_a.example.net", "other text")
                            .txt("_b.example.net", "V=SPF1 ip4:192.0.2.2 ?all")),
                ElementsAre("192.0.2.1", "192.0.2.2"));
    EXPECT_THAT(passing("ip4:192.0.2.1 -all redirect=_b.example.net"), ElementsAre("192.0.2.1"))
        << "all comes first";
}

TEST(ResolveName, WhatAListOfNetworksCannotSayIsIgnoredOrAnError) {
    const auto answer =
        Records()
            .txt("example.org",
                 "v=spf1 exists:%{i}._spf.example.net ptr include:%{d}.example.net ip4:192.0.2.1 -all")
            .resolve("spf:example.org");
    EXPECT_THAT(networksOf(answer), ElementsAre("192.0.2.1"));
    EXPECT_THAT(answer.ignored,
                ElementsAre("exists:%{i}._spf.example.net", "ptr", "include:%{d}.example.net"));
    const struct {
        const char* record;
        const char* message;
    } cases[] = {
        {"+all", "lets everybody pass (\"+all\")"},
        {"ip4:192.0.2.1 all", "lets everybody pass (\"all\")"},
        {"-ip4:192.0.2.66 ip4:192.0.2.0/24 -all",
         "excludes \"-ip4:192.0.2.66\", which a list of networks cannot express"},
        {"?include:x.example.net -all", "excludes \"?include:x.example.net\""},
        {"-all", "lets nobody pass"},
        {"ip4:192.0.2.1/33", "has an invalid term \"ip4:192.0.2.1/33\""},
        {"ip4:2001:db8::1", "has an invalid term"},
        {"ip6:192.0.2.1", "has an invalid term"},
        {"ip4", "has an invalid term"},
        {"a:b.example.org/x", "has an invalid term"},
        {"include:", "names an invalid domain \"\""},
        {"ipv4:192.0.2.1", "has an unknown term \"ipv4:192.0.2.1\""},
        {"include:gone.example.net ip4:192.0.2.1", "gone.example.net has no SPF record, but is included"},
        {"redirect=gone.example.net", "gone.example.net has no SPF record, but another one leads there"},
        {"redirect=a.example.net redirect=b.example.net", "redirects twice"},
        {"include:example.org", "has an invalid term"},
    };
    for (const auto& one : cases)
        EXPECT_THAT(passing(one.record), ElementsAre(HasSubstr(one.message))) << one.record;
    EXPECT_THAT(Records().resolve("spf:example.org").error, HasSubstr("example.org has no SPF record"));
    EXPECT_THAT(passing("ip4:192.0.2.1", Records().txt("example.org", "v=spf1 -all")),
                ElementsAre("example.org has 2 SPF records"));
    EXPECT_THAT(passing("include:mute.example.net", Records().fails("mute.example.net")),
                ElementsAre("mute"));
}

TEST(ResolveName, LookUpsAreLimited) {
    Records loop;
    loop.txt("a.example.net", "v=spf1 include:b.example.net -all")
        .txt("b.example.net", "v=spf1 include:a.example.net -all");
    EXPECT_THAT(loop.resolve("spf:a.example.net").error, HasSubstr("need more than 10 look-ups"));
    EXPECT_LE(loop.asked, 11u);
    Records ten;
    std::string record = "v=spf1";
    for (int at = 0; at < 10; ++at) {
        const std::string name = "h" + std::to_string(at) + ".example.net";
        ten.a(name, "192.0.2." + std::to_string(at));
        record += " a:" + name;
    }
    EXPECT_EQ(Records(ten).txt("example.org", record).resolve("spf:example.org").networks.size(), 10u);
    EXPECT_THAT(ten.txt("example.org", record + " ptr").resolve("spf:example.org").error,
                HasSubstr("more than 10 look-ups"));
    EXPECT_THAT(passing("a:x.example.net a:y.example.net a:z.example.net ip4:192.0.2.1"),
                ElementsAre(HasSubstr("more than 2 names without an answer")));
    EXPECT_THAT(passing("a:x.example.net a:y.example.net ip4:192.0.2.1"), ElementsAre("192.0.2.1"));
    Records many;
    for (int at = 0; at < 11; ++at)
        many.mx("example.org", "m" + std::to_string(at) + ".example.org");
    EXPECT_THAT(passing("mx", many), ElementsAre(HasSubstr("more than 10 MX records")));
}

TEST(ResolveName, TooManyNetworksAreNone) {
    Records records;
    for (std::size_t at = 0; at <= kMaxNetworks; ++at)
        records.a("big.example.org", "10.0." + std::to_string(at / 256) + "." + std::to_string(at % 256));
    EXPECT_EQ(records.resolve("host:big.example.org").error, "it stands for more than 1000 networks");
}

}  // namespace
}  // namespace mailgate::names
