// SPDX-License-Identifier: Apache-2.0
/// \file  The gateway's state as Prometheus metrics (docs/metrics.md).
#pragma once

#include "gateway/admin/control.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace mailgate::admin {

/// Asks `control` at each collection. Any thread.
class GatewayMetrics final : public prometheus::Collectable {
  public:
    explicit GatewayMetrics(Control& control) : control_(control) {}  ///< which must outlive it
    std::vector<prometheus::MetricFamily> Collect() const override;

  private:
    Control& control_;
};

/// Prometheus' text format, version 0.0.4; families without a sample are left out.
std::string metricsText(const prometheus::Collectable& source);

}  // namespace mailgate::admin
