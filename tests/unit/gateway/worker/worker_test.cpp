// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

namespace mailgate {
namespace {

std::atomic<int> ended_threads{0};

struct TellsTheEnd {
    ~TellsTheEnd() { ++ended_threads; }
};

TEST(Worker, ThatIsDestroyedWhileItRunsHasEndedItsThread) {
    LogConfig quiet;
    quiet.target = "stderr";
    EventLog log(quiet);
    GatewayState state(log, nullptr, 1);
    {
        Worker worker(state, std::make_shared<const Generation>(), {});
        worker.start("worker-0");
        worker.call([](Worker&) { thread_local const TellsTheEnd at_its_end; }).get();
        EXPECT_EQ(ended_threads, 0);
    }
    EXPECT_EQ(ended_threads, 1);
}

}  // namespace
}  // namespace mailgate
