// SPDX-License-Identifier: Apache-2.0
/// \file  `mailgate` as it is called, in this process: with a configuration of the test's own, and a made-up gateway to
/// talk to where one is needed.
#pragma once

#include "gateway/admin/server.h"
#include "gateway/cli/cli.h"
#include "tests/support/fake_control.h"
#include "tests/support/temporary_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::test {

struct Ran {
    int exit_code;
    std::string output, errors;
};

inline Ran ran(std::vector<std::string> words) {
    words.insert(words.begin(), "mailgate");
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = cli::run(static_cast<int>(argv.size()), argv.data());
    std::string output = testing::internal::GetCapturedStdout();
    return {code, std::move(output), testing::internal::GetCapturedStderr()};
}

/// How the text of a usage error ends, unless a value is what is wrong.
inline constexpr const char* kMoreHelp = "Run with --help for more information.\n";

/// One listener, "smtp", for whom no rule is needed to be refused, in front of one server, "postfix/mx1".
class CommandTest : public ::testing::Test {
  protected:
    CommandTest() { configure(kSite); }

    void configure(const std::string& text) const { std::ofstream(file_) << text; }
    Ran run(std::vector<std::string> words) const {
        words.insert(words.begin(), {"--config", file_});
        return ran(std::move(words));
    }
    /// Which is then controlled by control_.
    void startGateway() {
        AdminConfig config;
        config.socket = folder_.file("mailgate.sock");
        server_.emplace(config, control_, nullptr);
        server_->start();
    }
    /// What a command says that finds no gateway.
    std::string notListening() const {
        return "mailgate: no gateway is listening on " + folder_.file("mailgate.sock") +
               ": is it running, and with this configuration?\n";
    }

    static constexpr const char* kSite = R"([gateway]
name = "gw.example.org"
[[listener]]
name = "smtp"
protocol = "smtp"
address = "0.0.0.0:2525"
upstream = "postfix"
proxy = "require"
trusted = "10.0.0.0/8"
[[upstream]]
name = "postfix"
[[upstream.server]]
name = "mx1"
address = "127.0.0.1:10025"
)";

    const TemporaryFolder folder_;
    const std::string file_ = folder_.file("mailgate.toml");
    admin::FakeControl control_;

  private:
    std::optional<admin::AdminServer> server_;
};

}  // namespace mailgate::test
