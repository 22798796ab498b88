// SPDX-License-Identifier: Apache-2.0
/// \file  Which host a request names.
#pragma once

#include <Poco/Net/HTTPServerRequest.h>

namespace mailgate::http {

/// What comes as to a proxy ("GET http://host/path", RFC 9112 3.2.2) becomes what it would be without: the path as the URI, and the
/// host as the Host field, whatever that said.
void takeAuthority(Poco::Net::HTTPServerRequest& request);

}  // namespace mailgate::http
