// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/layout.h"

#include "gateway/console/assets.h"

namespace mailgate::console {

namespace {

void addLink(Html& html, const char* path, std::string_view words, bool is_here) {
    html.markup("<li><a href=\"").text(path).markup("\"");
    if (is_here) html.markup(" aria-current=\"page\"");
    html.markup(">").text(words).markup("</a></li>");
}

void addHeader(Html& html, const Viewer& viewer, Place place) {
    html.markup("<header><span class=\"name\">mailgate</span><nav aria-label=\"Main\"><ul>");
    addLink(html, "/", "Overview", place == Place::Overview);
    addLink(html, "/sessions", "Sessions", place == Place::Sessions);
    addLink(html, "/sessions/live", "Under way", place == Place::Live);
    addLink(html, "/rules", "Rules", place == Place::Rules);
    addLink(html, "/servers", "Servers", place == Place::Servers);
    if (viewer.has_fleet) addLink(html, "/fleet", "Fleet", place == Place::Fleet);
    if (viewer.sees_configuration)
        addLink(html, "/configuration", "Configuration", place == Place::Configuration);
    html.markup("</ul></nav>");
    if (!viewer.csrf_token.empty())
        html.markup(
                "<form method=\"post\" action=\"/logout\"><input type=\"hidden\" name=\"csrf_token\" "
                "value=\"")
            .text(viewer.csrf_token)
            .markup("\"><span class=\"soft\">")
            .text(viewer.name)
            .markup("</span><button class=\"plain\">Log out</button></form>");
    html.markup("</header>");
}

void addScript(Html& head, AssetName name) {
    head.markup("<script src=\"").text(asset(name).path).markup("\" defer></script>");
}

void addStyle(Html& head, AssetName name) {
    head.markup("<link rel=\"stylesheet\" href=\"").text(asset(name).path).markup("\">");
}

/// htmx adds no styles and evaluates nothing, which Content-Security-Policy would not let it do either, and keeps no page.
void addScripts(Html& head, Place place) {
    head.markup(
        "<meta name=\"htmx-config\" "
        "content=\"{&quot;includeIndicatorStyles&quot;:false,&quot;allowEval&quot;:"
        "false,&quot;allowScriptTags&quot;:false,&quot;historyEnabled&quot;:false,&quot;"
        "historyCacheSize&quot;:0,&quot;selfRequestsOnly&quot;:true,&quot;timeout&quot;:10000}\">");
    if (place == Place::Overview) {
        addStyle(head, AssetName::PlotStyle);
        addScript(head, AssetName::Plot);
    }
    addScript(head, AssetName::Htmx);
    addScript(head, AssetName::Script);
}

}  // namespace

std::string page(const Viewer& viewer, Place place, std::string_view title, const Html& content) {
    Html html;
    html.markup(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>")
        .text(title)
        .markup(" · mailgate</title><link rel=\"icon\" href=\"")
        .text(asset(AssetName::Icon).path)
        .markup("\">");
    addStyle(html, AssetName::Style);
    if (!viewer.name.empty()) addScripts(html, place);
    html.markup("</head><body><a class=\"skip\" href=\"#content\">Skip to the content</a>");
    if (!viewer.name.empty()) addHeader(html, viewer, place);
    html.markup("<main id=\"content\"><h1>").text(title).markup("</h1>").add(content).markup("</main>");
    if (!viewer.name.empty())
        html.markup("<footer class=\"soft\">Times in <span data-zone>UTC</span></footer>");
    html.markup("</body></html>\n");
    return html.str();
}

}  // namespace mailgate::console
