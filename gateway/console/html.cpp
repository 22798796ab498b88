// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/html.h"

#include "gateway/answers/rules_text.h"

namespace mailgate::console {

std::string htmlText(std::string_view text) {
    std::string html;
    for (const char character : answers::plainLine(text)) {
        switch (character) {
            case '&':
                html += "&amp;";
                break;
            case '<':
                html += "&lt;";
                break;
            case '>':
                html += "&gt;";
                break;
            case '"':
                html += "&quot;";
                break;
            case '\'':
                html += "&#39;";
                break;
            default:
                html += character;
        }
    }
    return html;
}

}  // namespace mailgate::console
