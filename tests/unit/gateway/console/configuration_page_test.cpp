// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/configuration_page.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

#include <string>
#include <string_view>

namespace mailgate::console {
namespace {

using testing::HasSubstr;
using testing::Not;

Poco::JSON::Object configurationOf(const std::string& text) {
    return *Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

TEST(ConfigurationPage, TellsDefaultsFromWhatWasSet) {
    const Viewer admin{"alice", true, "token", true};
    const auto snippets = configurationOf(R"({"snippets": [{"name": "<p>", "about": "<lines>"}]})");
    const std::string page = configurationPage(
        admin, configurationOf(R"({"file": "/etc/<m>.toml", "files": [], "warnings": ["<w>"],
            "sections": {"gateway": {"workers": "2", "user": "\"<u>\""}}, "defaults": {"gateway": {"workers": "0", "user": "\"<u>\""}},
            "listeners": [{"name": "<l>", "addresses": ["[::]:25", "0.0.0.0:25"], "settings": {"mode": "\"soft\""}}],
            "upstreams": [{"name": "u", "settings": {"tls": "\"off\""}, "servers": [{"name": "s", "address": "<a>", "settings": {"weight": "1"}}]}]})"),
        snippets);
    for (const char* words :
         {"/etc/&lt;m&gt;.toml", "<li>&lt;w&gt;</li>", "[gateway]", "<code>2</code>", "<code>0</code>",
          "is the value", "&lt;u&gt;", "&lt;l&gt;", "[::]:25, 0.0.0.0:25", "Server u/s, &lt;a&gt;",
          "/configuration/snippets/%3Cp%3E", "&lt;lines&gt;", "aria-current=\"page\""})
        EXPECT_THAT(page, HasSubstr(words));
    EXPECT_THAT(configurationPage(admin, configurationOf(R"({"warnings": []})"), snippets),
                HasSubstr("There was none"));
}

TEST(ConfigurationPage, TellsDefaultsOfListenersUpstreamsAndServers) {
    const auto configuration_with = [](const std::string& mode, const std::string& balance,
                                       const std::string& weight) {
        return configurationPage(
            {"alice", true, "token", true},
            configurationOf(
                R"({"warnings": [], "listener_defaults": {"mode": "\"enforce\""}, "upstream_defaults": {"balance": "\"least\""},
                "server_defaults": {"weight": "1"}, "listeners": [{"name": "l", "settings": {"tls_required": "true", "mode": ")" +
                mode + R"("}}], "upstreams": [{"name": "u", "settings": {"balance": ")" + balance +
                R"("}, "servers": [{"name": "s", "address": "a", "settings": {"weight": ")" + weight +
                R"("}}]}]})"),
            configurationOf("{}"));
    };
    const auto count = [](const std::string& page, std::string_view words) {
        int found = 0;
        for (std::size_t at = page.find(words); at != std::string::npos; at = page.find(words, at + 1))
            ++found;
        return found;
    };
    const std::string usual = configuration_with(R"(\"enforce\")", R"(\"least\")", "1");
    EXPECT_EQ(count(usual, "is the value"), 3);
    EXPECT_EQ(count(usual, "none, or by other keys"), 1) << "tls_required";
    const std::string other = configuration_with(R"(\"soft\")", R"(\"hash\")", "2");
    EXPECT_EQ(count(other, "is the value"), 0);
    for (const char* value :
         {"<code>&quot;enforce&quot;</code>", "<code>&quot;least&quot;</code>", "<code>1</code>"})
        EXPECT_THAT(other, HasSubstr(value));
}

TEST(ConfigurationPage, HasALinkForAdminsOnly) {
    EXPECT_THAT(
        snippetPage({"alice", true, "token", true}, configurationOf(R"({"name": "n", "text": "a\n<b>\n"})")),
        testing::AllOf(HasSubstr("\na\n&lt;b&gt;\n</pre>"),
                       HasSubstr("href=\"/configuration\" aria-current")));
    EXPECT_THAT(page({"bob", true, "token"}, Place::Rules, "x", {}), Not(HasSubstr("/configuration")));
}

}  // namespace
}  // namespace mailgate::console
