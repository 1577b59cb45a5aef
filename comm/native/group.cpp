// A group of processes by LibTorch's own store and Gloo, behind a C interface that no exception leaves.

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/exception.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

C10_DECLARE_int(caffe2_log_level);

namespace {

using std::chrono::milliseconds;

// What became of a call, as `Code` in lib.rs has it.
enum Code : int { DONE = 0, TIMED_OUT = 1, LOST = 2, TAKEN = 3 };

bool has(const std::string& text, const char* word) { return text.find(word) != std::string::npos; }

Code guarded(const std::function<void()>& call) {
  try {
    call();
    return DONE;
  } catch (const c10d::TimeoutError&) {
    return TIMED_OUT;
  } catch (const std::exception& error) {
    const std::string said = error.what();
    if (has(said, "EADDRINUSE") || has(said, "address already in use")) return TAKEN;
    return has(said, "imed out") || has(said, "imeout") ? TIMED_OUT : LOST;
  } catch (...) {
    return LOST;
  }
}

void wait(const c10::intrusive_ptr<c10d::Work>& work) { work->wait(); }

}

struct Store {
  c10::intrusive_ptr<c10d::Store> store;
};

struct Group {
  c10::intrusive_ptr<c10d::Backend> backend;
};

extern "C" {

Code comm_store(const char* host, uint16_t port, bool serve, const char* prefix, int64_t timeout, Store** store) {
  // What goes wrong is said in our words, once.
  FLAGS_caffe2_log_level = 4;
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serve;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout);
    auto of_all = c10::make_intrusive<c10d::TCPStore>(host, options);
    *store = new Store{c10::make_intrusive<c10d::PrefixStore>(prefix, of_all)};
  });
}

void comm_store_drop(Store* store) {
  guarded([&] { delete store; });
}

Code comm_store_add(Store* store, const char* key, int64_t value, int64_t* sum) {
  return guarded([&] { *sum = store->store->add(key, value); });
}

// Keeps what was set first, and tells it: at most `room` bytes at `kept`, whose number becomes `room`.
Code comm_store_claim(Store* store, const char* key, const char* value, char* kept, int64_t* room) {
  return guarded([&] {
    const std::string found = store->store->compareSet(key, std::string(), std::string(value));
    *room = std::min<int64_t>(*room, found.size());
    std::memcpy(kept, found.data(), *room);
  });
}

Code comm_gloo(Store* store, const char* address, int rank, int world, int64_t timeout, Group** group) {
  return guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(address));
    *group = new Group{c10::make_intrusive<c10d::ProcessGroupGloo>(store->store, rank, world, options)};
  });
}

void comm_drop(Group* group) {
  guarded([&] { delete group; });
}

Code comm_broadcast(Group* group, const at::Tensor* tensor, int root) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    wait(group->backend->broadcast(tensors, options));
  });
}

Code comm_patience(Group* group, int64_t timeout) {
  return guarded([&] { group->backend->setTimeout(milliseconds(timeout)); });
}

Code comm_exchange(Group* group, const at::Tensor* to, const at::Tensor* from) {
  return guarded([&] {
    at::Tensor output = *to, input = *from;
    std::vector<int64_t> even;
    wait(group->backend->alltoall_base(output, input, even, even));
  });
}

Code comm_gather(Group* group, const at::Tensor* to, const at::Tensor* from) {
  return guarded([&] {
    at::Tensor output = *to, input = *from;
    wait(group->backend->_allgather_base(output, input));
  });
}

Code comm_barrier(Group* group) {
  return guarded([&] { wait(group->backend->barrier()); });
}

}
