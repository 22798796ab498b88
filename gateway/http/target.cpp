// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/target.h"

#include "gateway/http/request_head.h"

#include <string>

namespace mailgate::http {

void takeAuthority(Poco::Net::HTTPServerRequest& request) {
    const std::string whole = request.getURI();
    const Target target = targetOf(whole);
    if (!target.authority) return;
    request.set("Host", std::string(*target.authority));
    request.setURI(std::string(target.path));
}

}  // namespace mailgate::http
