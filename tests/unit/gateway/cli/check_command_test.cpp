// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/config_error.h"
#include "gateway/cli/cli.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <CLI/CLI.hpp>

#include <fstream>
#include <string>

namespace mailgate {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

constexpr const char* kSite = R"([[listener]]
name = "smtp"
protocol = "smtp"
address = "0.0.0.0:2525"
upstream = "postfix"
proxy = "mixed"
trusted = "::/0"
[[upstream]]
name = "postfix"
[[upstream.server]]
name = "mx1"
address = "127.0.0.1:10025"
)";

TEST(CheckCommand, SaysOkWithCountsAndWarnings) {
    const TemporaryFolder folder;
    const std::string file = folder.file("mailgate.toml");
    std::ofstream(file) << kSite;
    CLI::App app;
    cli::Context context;
    context.config_file = file;
    cli::addCheckCommand(app, context);
    testing::internal::CaptureStdout();
    app.parse("check");
    EXPECT_THAT(testing::internal::GetCapturedStdout(),
                AllOf(HasSubstr("warning: "), EndsWith("\n" + file + ": ok, 1 listener, 1 upstream\n")));
    EXPECT_EQ(context.exit_code, cli::kDone);
    context.config_file = folder.file("none.toml");
    EXPECT_THROW(app.parse("check"), ConfigError);
}

}  // namespace
}  // namespace mailgate
