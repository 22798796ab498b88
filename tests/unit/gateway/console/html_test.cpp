// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/html.h"

#include <gtest/gtest.h>

namespace mailgate::console {
namespace {

TEST(Html, EscapesWhatIsText) {
    Html html;
    html.markup("<p title=\"").text("a\"b'c").markup("\">").text("<b>&amp;").markup("</p>");
    EXPECT_EQ(html.str(), "<p title=\"a&quot;b&#39;c\">&lt;b&gt;&amp;amp;</p>");
}

TEST(Html, ShowsWhatCannotBeSeen) {
    EXPECT_EQ(htmlText("a\nb\x7f"), "a\\u000ab\\u007f");
    EXPECT_EQ(htmlText("\xe2\x80\xae"), "\\u202e");
    EXPECT_EQ(htmlText("b\xc3\xbc"
                       "cher \xff"),
              "b\xc3\xbc"
              "cher \xef\xbf\xbd");
    EXPECT_EQ(htmlText("back\\slash"), "back\\slash");
    EXPECT_EQ(htmlText(std::string(1, '\0')), "\\u0000");
}

}  // namespace
}  // namespace mailgate::console
