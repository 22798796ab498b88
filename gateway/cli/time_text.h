// SPDX-License-Identifier: Apache-2.0
/// \file  Times under the names by which the command line knows them.
#pragma once

#include "gateway/answers/time_text.h"

namespace mailgate::cli {

using answers::exactTimeText;
using answers::parseSpan;
using answers::parseTime;
using answers::TimeError;
using answers::TimeMeans;
using answers::Times;
using answers::timeText;
using answers::Zone;

}  // namespace mailgate::cli
