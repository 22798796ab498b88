// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/html.h"

#include "gateway/answers/rules_text.h"

#include <algorithm>

namespace mailgate::console {

namespace {

std::string withEntities(std::string_view text) {
    std::string html;
    for (const char character : text) {
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
            case '\n':
                html += "&#10;";
                break;
            case '\r':
                html += "&#13;";
                break;
            default:
                html += character;
        }
    }
    return html;
}

}  // namespace

std::string htmlText(std::string_view text) {
    return withEntities(answers::plainLine(text));
}

std::string htmlValue(std::string_view text) {
    return withEntities(text);
}

Html& Html::lines(std::string_view text) {
    html_ += '\n';  // the first one of a textarea counts for nothing (HTML 13.2.6.4.7)
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        html_ += htmlText(line);
        if (end < text.size()) html_ += '\n';
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return *this;
}

}  // namespace mailgate::console
