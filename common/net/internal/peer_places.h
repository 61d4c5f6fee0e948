#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace fl::net::internal {

// Counts the connections of each peer: of one there are at most so many, and a further one puts its
// oldest out, which most likely is one that the peer has lost. It must outlive its places. Thread
// safety: shared objects safe.
class PeerPlaces {
 public:
  // Ends a connection. Called from any thread, also after that.
  using PutOut = std::function<void()>;

  // Of one connection; given back when it goes.
  class Place {
   public:
    Place(PeerPlaces& places, std::string peer, std::uint64_t id)
        : places_(places), peer_(std::move(peer)), id_(id) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { places_.GiveBack(peer_, id_); }

   private:
    PeerPlaces& places_;
    const std::string peer_;
    const std::uint64_t id_;
  };

  explicit PeerPlaces(std::size_t of_peer_max) : of_peer_max_(of_peer_max) {}

  std::unique_ptr<Place> Take(const std::string& peer, PutOut put_out) {
    PutOut oldest;
    std::uint64_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      auto& places = peers_[peer];
      if (places.size() >= of_peer_max_) {
        oldest = std::move(places.begin()->second);
        places.erase(places.begin());
        ++put_out_;
      }
      id = ++last_id_;
      places.emplace(id, std::move(put_out));
    }
    if (oldest) oldest();
    return std::make_unique<Place>(*this, peer, id);
  }

  std::uint64_t put_out() const {
    const std::lock_guard lock(mutex_);
    return put_out_;
  }

 private:
  void GiveBack(const std::string& peer, std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    found->second.erase(id);
    if (found->second.empty()) peers_.erase(found);
  }

  const std::size_t of_peer_max_;
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::uint64_t, PutOut>> peers_;  // The oldest first.
  std::uint64_t last_id_ = 0;
  std::uint64_t put_out_ = 0;
};

}  // namespace fl::net::internal
