// SPDX-License-Identifier: Apache-2.0
// The conformance vectors: whole, byte by byte, and with bytes behind them.

#include "proxy_testing.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include <fstream>
#include <set>

namespace mailgate::proxy {
namespace {

enum class Answer : std::uint8_t { Accept, Local, Reject, Incomplete };

struct SslWant {
    bool tls, certificate_verified;
    std::vector<Tlv> sub_tlvs;
};

struct Vector {
    std::string id, bytes;
    Answer want = Answer::Accept;
    std::set<Answer> also_ok;
    std::optional<std::size_t> reject_at, header_len;
    std::string family, transport;
    std::string source, destination, match_address, payload;
    std::uint16_t source_port = 0, destination_port = 0;
    std::vector<Tlv> tlvs;
    std::optional<SslWant> ssl;
    bool untrusted_peer = false;  ///< to be refused before its bytes are looked at
};

std::string fromHex(const std::string& hex) {
    std::string bytes;
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
        bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
    }
    return bytes;
}

Answer answerNamed(const std::string& name) {
    if (name == "accept") return Answer::Accept;
    if (name == "local") return Answer::Local;
    if (name == "reject") return Answer::Reject;
    if (name == "incomplete") return Answer::Incomplete;
    throw std::runtime_error("no such answer: " + name);
}

std::string textOr(const Poco::JSON::Object& object, const std::string& key) {
    return object.isNull(key) ? std::string() : object.getValue<std::string>(key);
}

std::optional<std::size_t> numberAt(const Poco::JSON::Object& object, const std::string& key) {
    if (object.isNull(key)) return std::nullopt;
    return object.getValue<std::size_t>(key);
}

std::vector<Tlv> tlvsIn(const Poco::JSON::Array& array) {
    std::vector<Tlv> tlvs;
    for (std::size_t i = 0; i < array.size(); ++i) {
        const auto tlv = array.getObject(i);
        tlvs.push_back(
            {tlv->getValue<std::uint8_t>("type"), fromHex(tlv->getValue<std::string>("value_hex"))});
    }
    return tlvs;
}

Vector vectorFrom(const Poco::JSON::Object& object) {
    Vector vector;
    vector.id = object.getValue<std::string>("id");
    vector.bytes = fromHex(object.getValue<std::string>("hex"));
    vector.want = answerNamed(object.getValue<std::string>("expect"));
    if (object.has("also_ok")) {
        for (const auto& name : *object.getArray("also_ok"))
            vector.also_ok.insert(answerNamed(name));
    }
    vector.reject_at = numberAt(object, "reject_at");
    vector.header_len = numberAt(object, "header_len");
    vector.family = textOr(object, "family");
    vector.transport = textOr(object, "transport");
    vector.source = textOr(object, "src");
    vector.destination = textOr(object, "dst");
    vector.match_address = textOr(object, "match_addr");
    vector.source_port = static_cast<std::uint16_t>(numberAt(object, "src_port").value_or(0));
    vector.destination_port = static_cast<std::uint16_t>(numberAt(object, "dst_port").value_or(0));
    vector.payload = fromHex(textOr(object, "payload_hex"));
    vector.tlvs = tlvsIn(*object.getArray("tlvs"));
    if (const auto ssl = object.getObject("ssl")) {
        vector.ssl = {ssl->getValue<bool>("tls"), ssl->getValue<bool>("cert_verified"),
                      tlvsIn(*ssl->getArray("sub"))};
    }
    const auto context = object.getObject("context");
    vector.untrusted_peer = context && context->getValue<std::string>("peer") == "untrusted";
    return vector;
}

bool announcesTooMuch(const std::string& bytes) {
    constexpr std::string_view kV2Start("\r\n\r\n\0", 5);
    if (bytes.size() < 16 || !bytes.starts_with(kV2Start)) return false;
    return 16u + static_cast<std::uint8_t>(bytes[14]) * 256 + static_cast<std::uint8_t>(bytes[15]) >
           kMaxHeaderBytes;
}

/// Where the specification leaves a choice, ours; each must be among the answers that the vector allows.
std::optional<Reason> ourPolicy(const Vector& vector) {
    if (announcesTooMuch(vector.bytes)) return Reason::TooLong;
    if (vector.family == "UNIX" || vector.transport == "DGRAM") return Reason::UnsupportedFamily;
    return std::nullopt;
}

std::vector<Vector> loadVectors() {
    std::ifstream file(MAILGATE_CONFORMANCE_DIR "/proxy-vectors.json");
    const auto array = Poco::JSON::Parser().parse(file).extract<Poco::JSON::Array::Ptr>();
    std::vector<Vector> vectors;
    for (std::size_t i = 0; i < array->size(); ++i) {
        vectors.push_back(vectorFrom(*array->getObject(i)));
        Vector& vector = vectors.back();
        if (ourPolicy(vector)) {
            EXPECT_TRUE(vector.also_ok.contains(Answer::Reject)) << vector.id;
            vector.want = Answer::Reject;
            vector.reject_at = 16;
        } else if (vector.untrusted_peer) {
            // Trust is decided before the first byte; the bytes themselves are a header, or none yet.
            vector.want = vector.bytes.empty() ? Answer::Incomplete : Answer::Accept;
            vector.reject_at.reset();
        }
    }
    return vectors;
}

const std::vector<Vector>& vectors() {
    static const std::vector<Vector> loaded = loadVectors();
    return loaded;
}

Answer answerOf(const DecodeResult& result) {
    if (std::holds_alternative<NeedMore>(result)) return Answer::Incomplete;
    if (std::holds_alternative<Malformed>(result)) return Answer::Reject;
    return std::get<Header>(result).hasClientAddress() ? Answer::Accept : Answer::Local;
}

void expectTlvs(const std::vector<Tlv>& got, const std::vector<Tlv>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].type, want[i].type);
        EXPECT_EQ(got[i].value, want[i].value);
    }
}

std::string firstOf(const std::vector<Tlv>& tlvs, TlvType type) {
    for (const Tlv& tlv : tlvs) {
        if (tlv.type == static_cast<std::uint8_t>(type)) return tlv.value;
    }
    return {};
}

void expectSsl(const std::optional<SslInfo>& got, const std::optional<SslWant>& want) {
    ASSERT_EQ(got.has_value(), want.has_value());
    if (!want) return;
    EXPECT_EQ(got->tls, want->tls);
    EXPECT_EQ(got->certificate_verified, want->certificate_verified);
    EXPECT_EQ(got->version, firstOf(want->sub_tlvs, TlvType::SslVersion));
    EXPECT_EQ(got->common_name, firstOf(want->sub_tlvs, TlvType::SslCn));
    EXPECT_EQ(got->cipher, firstOf(want->sub_tlvs, TlvType::SslCipher));
    EXPECT_EQ(got->signature_algorithm, firstOf(want->sub_tlvs, TlvType::SslSigAlg));
    EXPECT_EQ(got->key_algorithm, firstOf(want->sub_tlvs, TlvType::SslKeyAlg));
}

void expectEndpoints(const Header& header, const Vector& vector) {
    EXPECT_EQ(header.source, endpoint(vector.source, vector.source_port));
    EXPECT_EQ(header.destination, endpoint(vector.destination, vector.destination_port));
    EXPECT_EQ(header.source.address.toString(), vector.match_address);
}

TEST(ProxyVectors, AreAllThere) {
    EXPECT_GE(vectors().size(), 252u);
}

TEST(ProxyVectors, GetTheWantedAnswer) {
    for (const Vector& vector : vectors()) {
        SCOPED_TRACE(vector.id);
        EXPECT_EQ(answerOf(decodeText(vector.bytes)), vector.want);
    }
}

TEST(ProxyVectors, GetTheSameAnswerByteByByteAndNoEarlierThanKnowable) {
    for (const Vector& vector : vectors()) {
        SCOPED_TRACE(vector.id);
        std::size_t decided_at = 0;
        const DecodeResult result = decodeByteByByte(vector.bytes, decided_at);
        ASSERT_EQ(answerOf(result), vector.want);
        if (const auto* malformed = std::get_if<Malformed>(&result)) {
            EXPECT_EQ(decided_at, vector.reject_at);
            EXPECT_EQ(malformed->offset, decided_at);
        } else if (const auto* header = std::get_if<Header>(&result)) {
            EXPECT_EQ(decided_at, header->size);
        }
    }
}

TEST(ProxyVectors, KeepTheirAnswerWhenMoreBytesFollow) {
    for (const Vector& vector : vectors()) {
        if (vector.want == Answer::Incomplete) continue;
        for (const std::string_view more : {std::string_view("\0", 1), std::string_view("\r\n"),
                                            std::string_view("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")}) {
            SCOPED_TRACE(vector.id);
            const DecodeResult alone = decodeText(vector.bytes);
            const DecodeResult followed = decodeText(vector.bytes + std::string(more));
            ASSERT_EQ(answerOf(followed), vector.want);
            if (const auto* malformed = std::get_if<Malformed>(&followed)) {
                EXPECT_EQ(malformed->reason, std::get<Malformed>(alone).reason);
                EXPECT_EQ(malformed->offset, std::get<Malformed>(alone).offset);
            } else {
                EXPECT_EQ(std::get<Header>(followed).size, std::get<Header>(alone).size);
            }
        }
    }
}

TEST(ProxyVectors, LeaveThePayload) {
    for (const Vector& vector : vectors()) {
        if (!vector.header_len || vector.want == Answer::Reject) continue;
        SCOPED_TRACE(vector.id);
        const Header header = decodedHeader(vector.bytes);
        EXPECT_EQ(header.size, vector.header_len);
        EXPECT_EQ(vector.bytes.substr(header.size), vector.payload);
    }
}

TEST(ProxyVectors, SayWhoTheClientIs) {
    for (const Vector& vector : vectors()) {
        if (vector.want != Answer::Accept || vector.untrusted_peer) continue;
        SCOPED_TRACE(vector.id);
        const Header header = decodedHeader(vector.bytes);
        EXPECT_EQ(header.family, vector.family == "TCP4" ? Family::Inet : Family::Inet6);
        expectEndpoints(header, vector);
        expectTlvs(header.tlvs.all, vector.tlvs);
        expectSsl(header.tlvs.ssl, vector.ssl);
        EXPECT_EQ(header.tlvs.crc32c_verified, !firstOf(vector.tlvs, TlvType::Crc32c).empty());
    }
}

TEST(ProxyVectors, WithoutAClientSayNothingOfOne) {
    for (const Vector& vector : vectors()) {
        if (vector.want != Answer::Local) continue;
        SCOPED_TRACE(vector.id);
        const Header header = decodedHeader(vector.bytes);
        EXPECT_EQ(header.source, Endpoint{});
        EXPECT_EQ(header.destination, Endpoint{});
        expectTlvs(header.tlvs.all, vector.tlvs);
    }
}

TEST(ProxyVectors, PolicyRejectsNameTheirReason) {
    for (const Vector& vector : vectors()) {
        const auto reason = ourPolicy(vector);
        if (!reason) continue;
        SCOPED_TRACE(vector.id);
        const DecodeResult result = decodeText(vector.bytes);
        ASSERT_TRUE(std::holds_alternative<Malformed>(result));
        EXPECT_EQ(std::get<Malformed>(result).reason, *reason);
    }
}

}  // namespace
}  // namespace mailgate::proxy
