// SPDX-License-Identifier: Apache-2.0
/// \file  Fields of the documents that the running gateway answers with. A gateway of another version may lack one: it
/// reads as if it were empty.
#pragma once

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <cstdint>
#include <string>

namespace mailgate::cli {

/// As text, numbers too; empty where it is null or absent. Clients may have put anything into it: Table and Facts
/// make it fit for a line, elsewhere use lineOf().
std::string textOf(const Poco::JSON::Object& object, const std::string& key);

/// Likewise, fit for a line.
std::string lineOf(const Poco::JSON::Object& object, const std::string& key);

std::uint64_t numberOf(const Poco::JSON::Object& object, const std::string& key);

bool isSet(const Poco::JSON::Object& object, const std::string& key);

/// Calls `each(const Poco::JSON::Object&)` for the objects of an array.
template <typename Each>
void forEachOf(const Poco::JSON::Array::Ptr& array, const Each& each) {
    for (unsigned at = 0; array && at < array->size(); ++at)
        if (const Poco::JSON::Object::Ptr item = array->getObject(at)) each(*item);
}
template <typename Each>
void forEachOf(const Poco::JSON::Object& object, const std::string& key, const Each& each) {
    forEachOf(object.getArray(key), each);
}

/// The texts of an array, with ", " between them.
std::string joinedTexts(const Poco::JSON::Object& object, const std::string& key);

}  // namespace mailgate::cli
