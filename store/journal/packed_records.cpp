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

using Size = std::uint32_t;  ///< of a text or a list

/// How much memory a record takes, and then, in the same order, what is in there.
class Measure {
  public:
    std::size_t bytes() const noexcept { return bytes_; }
    void put(const void* /*from*/, std::size_t size) noexcept { bytes_ += size; }

  private:
    std::size_t bytes_ = 0;
};
class Packer {
  public:
    explicit Packer(char* to) noexcept : to_(to) {}
    void put(const void* from, std::size_t size) noexcept {
        std::memcpy(to_, from, size);
        to_ += size;
    }

  private:
    char* to_;
};

template <typename Out, typename Value>
requires kIsPlain<Value>
void pack(Out& out, const Value& value) noexcept {
    out.put(&value, sizeof value);
}
template <typename Out>
void pack(Out& out, const std::string& value) noexcept {
    pack(out, static_cast<Size>(value.size()));
    // Most are empty.
    if (!value.empty()) out.put(value.data(), value.size());
}
template <typename Out>
void pack(Out& out, const JournalRefusal& value) noexcept {
    pack(out, value.to);
    pack(out, value.reply);
}
template <typename Out>
void pack(Out& out, const std::pair<std::string, std::string>& value) noexcept {
    pack(out, value.first);
    pack(out, value.second);
}
template <typename Out>
void pack(Out& out, const JournalMail& value) noexcept;
template <typename Out, typename Item>
void pack(Out& out, const std::vector<Item>& items) noexcept {
    pack(out, static_cast<Size>(items.size()));
    for (const Item& item : items)
        pack(out, item);
}
template <typename Out, typename Record>
void packFields(Out& out, const Record& record) noexcept {
    eachField<Record>([&](const auto& field) {
        if (!field.again) pack(out, record.*field.member);
    });
}
template <typename Out>
void pack(Out& out, const JournalMail& value) noexcept {
    pack(out, value.number);
    packFields(out, value);
}
template <typename Out>
void packRecord(Out& out, const JournalSession& record) noexcept {
    pack(out, record.kind);
    packFields(out, record);
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
        if (size == 0) return value.clear();  // as most are
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
        Size size = 0;
        take(size);
        return size;
    }

    std::string_view in_;
};

}  // namespace

void PackedRecords::add(const JournalSession& record) {
    const std::size_t before = bytes_.size();
    Measure measure;
    packRecord(measure, record);
    bytes_.resize(before + measure.bytes());
    Packer packer(bytes_.data() + before);
    packRecord(packer, record);
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
