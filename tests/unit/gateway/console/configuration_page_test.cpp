// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/configuration_page.h"

#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>

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

TEST(ConfigurationPage, HasALinkForAdminsOnly) {
    EXPECT_THAT(
        snippetPage({"alice", true, "token", true}, configurationOf(R"({"name": "n", "text": "a\n<b>\n"})")),
        testing::AllOf(HasSubstr("\na\n&lt;b&gt;\n</pre>"),
                       HasSubstr("href=\"/configuration\" aria-current")));
    EXPECT_THAT(page({"bob", true, "token"}, Place::Rules, "x", {}), Not(HasSubstr("/configuration")));
}

}  // namespace
}  // namespace mailgate::console
