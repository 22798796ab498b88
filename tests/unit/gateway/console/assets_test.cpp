// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/assets.h"

#include "gateway/console/screens.h"

#include <Poco/DigestEngine.h>
#include <Poco/SHA2Engine.h>
#include <gmock/gmock.h>

#include <set>
#include <string>

namespace mailgate::console {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

#ifdef MAILGATE_WITHOUT_CONSOLE
constexpr AssetName kBuiltIn[] = {AssetName::Style, AssetName::Script, AssetName::Icon};
#else
constexpr AssetName kBuiltIn[] = {AssetName::Style, AssetName::Script, AssetName::Icon,
                                  AssetName::Htmx,  AssetName::Plot,   AssetName::PlotStyle};
#endif

std::string sha256(const std::string& content) {
    Poco::SHA2Engine engine(Poco::SHA2Engine::SHA_256);
    engine.update(content);
    return Poco::DigestEngine::digestToHex(engine.digest());
}

PageRequest requestOf(std::string_view path) {
    PageRequest request{.method = "GET", .path = {}};
    const std::size_t slash = path.rfind('/');
    request.path = {std::string(path.substr(1, slash - 1)), std::string(path.substr(slash + 1))};
    return request;
}

TEST(Assets, AreNamedByWhatIsInThem) {
    std::set<std::string_view> paths;
    for (const AssetName name : kBuiltIn) {
        const std::string_view path = asset(name).path;
        EXPECT_EQ(path.substr(0, path.find('.')), "/assets/" + sha256(contentOf(asset(name))).substr(0, 16));
        EXPECT_EQ(assetAt(path), &asset(name));
        paths.insert(path);
    }
    EXPECT_EQ(paths.size(), std::size(kBuiltIn));
    EXPECT_EQ(assetAt(""), nullptr);
    EXPECT_EQ(assetAt("/assets/0123456789abcdef.css"), nullptr);
}

TEST(Assets, AreSmallAndFetchNothing) {
    constexpr std::size_t kMost = std::size_t{60} << 10;
    std::size_t all = 0;
    for (const AssetName name : kBuiltIn)
        all += asset(name).gzipped.size();
    EXPECT_LT(all, kMost);
    EXPECT_THAT(contentOf(asset(AssetName::Style)), Not(HasSubstr("url(")));
    EXPECT_THAT(contentOf(asset(AssetName::Script)), Not(HasSubstr("http")));
}

TEST(Assets, AreSentAsTheBrowserTakesThem) {
    const Asset& script = asset(AssetName::Script);
    PageRequest request = requestOf(script.path);
    const auto plain = openResponse(request);
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->body, contentOf(script));
    EXPECT_EQ(plain->content_type, "text/javascript; charset=utf-8");
    EXPECT_THAT(plain->headers, Contains(Pair("Cache-Control", HasSubstr("immutable"))));
    EXPECT_THAT(plain->headers, Contains(Pair("Vary", "Accept-Encoding")));
    request.takes_gzip = true;
    const auto compressed = openResponse(request);
    EXPECT_EQ(compressed->body, script.gzipped);
    EXPECT_THAT(compressed->headers, Contains(Pair("Content-Encoding", "gzip")));
    request.if_none_match = "W/\"x\", \"" + request.path[1] + ".gz\"";
    const auto kept = openResponse(request);
    EXPECT_EQ(kept->status, 304);
    EXPECT_EQ(kept->body, "");
    request.takes_gzip = false;
    EXPECT_EQ(openResponse(request)->status, 200) << "that is the other one's tag";
    request.path = {"assets", "..", "x"};
    EXPECT_FALSE(openResponse(request));
    request.path = {"assets", ""};
    EXPECT_FALSE(openResponse(request));
    request.path = {"", ""};
    EXPECT_FALSE(openResponse(request));
}

TEST(AcceptEncoding, SaysWhetherGzipIsTaken) {
    for (const char* field : {"gzip", "br, GZIP", "deflate,gzip;q=0.5", "gzip;q=1.0", " gzip ; q=0.001"})
        EXPECT_TRUE(takesGzip(field)) << field;
    for (const char* field : {"", "br", "gzip;q=0", "gzip; Q=0.000", "identity", "gzipped", ",,;"})
        EXPECT_FALSE(takesGzip(field)) << field;
}

}  // namespace
}  // namespace mailgate::console
