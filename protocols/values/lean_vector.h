// SPDX-License-Identifier: Apache-2.0
/// \file  A vector for what most of its owners never have: one pointer as long as it is empty.
///
/// Reads like a std::vector; what changes it says so, by own() or take().
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace mailgate {

template <typename Item>
class LeanVector {
  public:
    using Vector = std::vector<Item>;
    using value_type = Item;
    using const_iterator = typename Vector::const_iterator;
    using iterator = const_iterator;

    LeanVector() noexcept = default;
    LeanVector(std::initializer_list<Item> items) : items_(std::make_unique<Vector>(items)) {}
    LeanVector(LeanVector&&) noexcept = default;
    LeanVector& operator=(LeanVector&&) noexcept = default;
    LeanVector(const LeanVector& other)
        : items_(other.empty() ? nullptr : std::make_unique<Vector>(*other.items_)) {}
    LeanVector& operator=(const LeanVector& other) {
        LeanVector copy(other);
        items_.swap(copy.items_);
        return *this;
    }
    ~LeanVector() = default;

    /// To change it; valid as long as this is. Throws std::bad_alloc.
    Vector& own() {
        if (!items_) items_ = std::make_unique<Vector>();
        return *items_;
    }
    /// All that it holds, and nothing is left.
    Vector take() noexcept {
        const auto items = std::exchange(items_, nullptr);
        return items ? std::move(*items) : Vector();
    }

    operator const Vector&() const noexcept { return items(); }
    bool empty() const noexcept { return !items_ || items_->empty(); }
    std::size_t size() const noexcept { return items_ ? items_->size() : 0; }
    const_iterator begin() const noexcept { return items().begin(); }
    const_iterator end() const noexcept { return items().end(); }
    const Item& front() const { return items().front(); }
    const Item& back() const { return items().back(); }
    const Item& operator[](std::size_t at) const { return items()[at]; }
    const Item& at(std::size_t at) const { return items().at(at); }

    friend bool operator==(const LeanVector& one, const Vector& other) { return one.items() == other; }

  private:
    const Vector& items() const noexcept { return items_ ? *items_ : kNone; }

    static inline const Vector kNone;

    std::unique_ptr<Vector> items_;
};

}  // namespace mailgate
