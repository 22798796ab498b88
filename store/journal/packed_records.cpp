// SPDX-License-Identifier: Apache-2.0
#include "store/journal/packed_records.h"

#include "store/journal/fields.h"

#include <cstdint>
#include <cstring>
#include <new>
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

/// Puts one behind the other at the end of `bytes`, which is larger than that until end().
class Packer {
  public:
    explicit Packer(std::string& bytes) : bytes_(bytes), size_(bytes.size()) {
        bytes_.resize(size_ + kUsual);
    }
    void put(const void* from, std::size_t size) {
        if (bytes_.size() - size_ < size) bytes_.resize(2 * (size_ + size));
        std::memcpy(bytes_.data() + size_, from, size);
        size_ += size;
    }
    void end() { bytes_.resize(size_); }

  private:
    static constexpr std::size_t kUsual = 1'024;  ///< a session with a mail or two
    std::string& bytes_;
    std::size_t size_;
};

template <typename Value>
requires kIsPlain<Value>
void pack(Packer& out, const Value& value) {
    out.put(&value, sizeof value);
}
void pack(Packer& out, const std::string& value) {
    pack(out, static_cast<Size>(value.size()));
    // Most are empty.
    if (!value.empty()) out.put(value.data(), value.size());
}
void pack(Packer& out, const JournalRefusal& value) {
    pack(out, value.to);
    pack(out, value.reply);
}
void pack(Packer& out, const std::pair<std::string, std::string>& value) {
    pack(out, value.first);
    pack(out, value.second);
}
void pack(Packer& out, const JournalMail& value);
template <typename Item>
void pack(Packer& out, const std::vector<Item>& items) {
    pack(out, static_cast<Size>(items.size()));
    for (const Item& item : items)
        pack(out, item);
}
template <typename Record>
void packFields(Packer& out, const Record& record) {
    eachField<Record>([&](const auto& field) {
        if (!field.again) pack(out, record.*field.member);
    });
}
void pack(Packer& out, const JournalMail& value) {
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
    try {
        Packer packer(bytes_);
        pack(packer, record.kind);
        packFields(packer, record);
        packer.end();
    } catch (const std::bad_alloc&) {
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
