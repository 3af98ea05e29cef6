// Handles that may be used after they were closed: a number of a slot and of its generation.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "error.hpp"

namespace xedge {

// Handle is the opaque type of the header; T is what it stands for. Any thread.
template <class Handle, class T, unsigned Kind>
class Handles {
public:
    // The handle of a new slot; throws XEDGE_E_LIMIT.
    Handle* open(std::shared_ptr<T> thing) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (std::uintptr_t i = 0; i < slots_.size(); ++i) {
            if (slots_[i].thing) continue;
            slots_[i].thing = std::move(thing);
            ++slots_[i].generation;
            return reinterpret_cast<Handle*>(slots_[i].generation << kShift | Kind << kSlotBits |
                                             i);
        }
        throw Failure(XEDGE_E_LIMIT, "too many handles are open",
                      "at most " + std::to_string(slots_.size()) + " of a kind", "one more",
                      "Close what is no longer used");
    }

    // What a handle stands for, which lives at least as long as what is returned.
    std::shared_ptr<T> get(const Handle* handle) {
        const std::lock_guard<std::mutex> lock(mutex_);
        return slot(handle).thing;
    }

    // What a handle stood for, so that it is destroyed outside of the lock.
    std::shared_ptr<T> close(const Handle* handle) {
        const std::lock_guard<std::mutex> lock(mutex_);
        return std::move(slot(handle).thing);
    }

private:
    static constexpr unsigned kSlotBits = 6, kShift = 8;

    struct Slot {
        std::uintptr_t generation = 0;
        std::shared_ptr<T> thing;
    };

    Slot& slot(const Handle* handle) {
        const auto number = reinterpret_cast<std::uintptr_t>(handle);
        Slot& slot = slots_[number & (slots_.size() - 1)];
        const bool same = (number >> kSlotBits & 3) == Kind &&
                          number >> kShift == (slot.generation & (~std::uintptr_t{0} >> kShift));
        if (!handle || !same || !slot.thing)
            throw Failure(XEDGE_E_HANDLE, "a handle cannot be used", "one that is open",
                          handle ? "one that was closed, or never was one" : "NULL");
        return slot;
    }

    std::mutex mutex_;
    std::array<Slot, 1u << kSlotBits> slots_;
};

}  // namespace xedge
