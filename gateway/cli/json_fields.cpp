// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/json_fields.h"

#include "gateway/answers/rules_text.h"

namespace mailgate::cli {

std::string textOf(const Poco::JSON::Object& object, const std::string& key) {
    const Poco::Dynamic::Var value = object.get(key);
    return value.isEmpty() ? std::string() : value.convert<std::string>();
}

std::string lineOf(const Poco::JSON::Object& object, const std::string& key) {
    return answers::plainLine(textOf(object, key));
}

std::uint64_t numberOf(const Poco::JSON::Object& object, const std::string& key) {
    return object.optValue<std::uint64_t>(key, 0);
}

bool isSet(const Poco::JSON::Object& object, const std::string& key) {
    return object.optValue(key, false);
}

std::string joinedTexts(const Poco::JSON::Object& object, const std::string& key) {
    std::string texts;
    const Poco::JSON::Array::Ptr items = object.getArray(key);
    for (unsigned at = 0; items && at < items->size(); ++at)
        texts += (at > 0 ? ", " : "") + items->getElement<std::string>(at);
    return texts;
}

}  // namespace mailgate::cli
