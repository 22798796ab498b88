// SPDX-License-Identifier: Apache-2.0
#include "store/journal/packed_records.h"

#include "store/journal/fields.h"

#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mailgate::store::journal {

namespace {

constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;  // after a burst, memory goes back

// Within one process: numbers, addresses and optional ones go as they are.
template <typename Value>
constexpr bool kIsPlain = std::is_trivially_copyable_v<Value>;

template <typename Value>
requires kIsPlain<Value>
void pack(std::string& out, const Value& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void packSize(std::string& out, std::size_t size) {
    pack(out, static_cast<std::uint32_t>(size));
}
void pack(std::string& out, const std::string& value) {
    packSize(out, value.size());
    out.append(value);
}
void pack(std::string& out, const JournalRefusal& value) {
    pack(out, value.to);
    pack(out, value.reply);
}
void pack(std::string& out, const std::pair<std::string, std::string>& value) {
    pack(out, value.first);
    pack(out, value.second);
}
void pack(std::string& out, const JournalMail& value);
template <typename Item>
void pack(std::string& out, const std::vector<Item>& items) {
    packSize(out, items.size());
    for (const Item& item : items)
        pack(out, item);
}
template <typename Record>
void packFields(std::string& out, const Record& record) {
    eachField<Record>([&](const auto& field) {
        if (!field.again) pack(out, record.*field.member);
    });
}
void pack(std::string& out, const JournalMail& value) {
    pack(out, value.number);
    packFields(out, value);
}

/// Takes the same from the front of `in`.
class Unpacker {
  public:
    explicit Unpacker(std::string_view in) noexcept : in_(in) {}

    template <typename Value>
    requires kIsPlain<Value>
    void take(Value& value) noexcept {
        std::memcpy(static_cast<void*>(&value), in_.data(), sizeof value);
        in_.remove_prefix(sizeof value);
    }
    void take(std::string& value) {
        const std::size_t size = takeSize();
        value.assign(in_.data(), size);
        in_.remove_prefix(size);
    }
    void take(JournalRefusal& value) {
        take(value.to);
        take(value.reply);
    }
    void take(std::pair<std::string, std::string>& value) {
        take(value.first);
        take(value.second);
    }
    void take(JournalMail& value) {
        take(value.number);
        takeFields(value);
    }
    template <typename Item>
    void take(std::vector<Item>& items) {
        items.resize(takeSize());
        for (Item& item : items)
            take(item);
    }
    template <typename Record>
    void takeFields(Record& record) {
        eachField<Record>([&](const auto& field) {
            if (!field.again) take(record.*field.member);
        });
    }
    std::size_t left() const noexcept { return in_.size(); }

  private:
    std::size_t takeSize() noexcept {
        std::uint32_t size = 0;
        take(size);
        return size;
    }

    std::string_view in_;
};

}  // namespace

void PackedRecords::add(const JournalSession& record) {
    const std::size_t before = bytes_.size();
    try {
        pack(bytes_, record.kind);
        packFields(bytes_, record);
    } catch (...) {
        bytes_.resize(before);
        throw;
    }
    ++count_;
}

void PackedRecords::append(const PackedRecords& others) {
    bytes_.append(others.bytes_);
    count_ += others.count_;
}

void PackedRecords::read(std::size_t& place, JournalSession& into) const {
    Unpacker unpacker(std::string_view(bytes_).substr(place));
    unpacker.take(into.kind);
    unpacker.takeFields(into);
    place = bytes_.size() - unpacker.left();
}

void PackedRecords::clear() noexcept {
    count_ = 0;
    if (bytes_.capacity() > kKeptCapacity)
        std::string().swap(bytes_);
    else
        bytes_.clear();
}

}  // namespace mailgate::store::journal
