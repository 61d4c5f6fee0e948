#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "fl/common/base/clock.h"
#include "fl/common/crypto/certificate_authority.h"
#include "fl/common/net/tls_files.h"
#include "fl/server/core/federation_plan.h"

namespace fl::bench {

// A folder of its own, removed with everything in it at the end.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::filesystem::path& where);
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// An authority, a server's files and certificates of any number of devices, which share one key.
class LoadPki {
 public:
  LoadPki();
  const std::string& authority() const { return authority_.certificate(); }
  const crypto::Secret& device_key() const { return key_pem_; }
  net::TlsFiles Server() const;
  net::TlsFiles Device(const std::string& name) const;
  std::string Certify(const std::string& name) const;
  // A folder as fl-pki writes it for a server.
  Result<> WriteServerFolder(const std::filesystem::path& folder) const;

 private:
  crypto::CertificateAuthority authority_;
  crypto::PrivateKey key_;
  crypto::Secret key_pem_;
};

struct ServeConfig {
  std::string plan;                       // Its text.
  std::filesystem::path state;            // An empty folder, for state, plan and certificates.
  std::size_t threads = 2;                // As fl-server's --threads.
  std::uint64_t requests_per_second = 0;  // Of a client, as fl-server's; 0: no limit.
  bool one_core = false;                  // Processor 0 alone; the load is on processor 1.
  Duration flush{0};                      // By how much longer each flush of the database takes.
};

// What fl-server runs (server/app/run_server.h), in a process of its own. Start it before this
// process has threads.
class ServerProcess {
 public:
  // kIo with the child's own words on standard error when it does not come up.
  static Result<ServerProcess> Start(const ServeConfig& config, const LoadPki& pki);
  ServerProcess(ServerProcess&& other) noexcept;
  ServerProcess& operator=(ServerProcess&&) = delete;
  ~ServerProcess();  // Stops it.

  std::uint16_t port() const { return port_; }
  double cpu_seconds() const;     // So far, of all its threads.
  double memory_mb() const;       // Resident now.
  double peak_memory_mb() const;  // Resident at most so far.
  std::size_t descriptors() const;
  std::uint64_t flushes() const;  // Of the database, where `flush` was set.

 private:
  explicit ServerProcess(pid_t process) : process_(process) {}
  double StatusMb(const std::string& field) const;

  pid_t process_;
  std::uint16_t port_ = 0;
  std::uint64_t* flushes_ = nullptr;  // Shared with the child.
};

// This thread runs on one processor for as long as the object lives.
class OnProcessor {
 public:
  explicit OnProcessor(std::size_t processor);
  OnProcessor(const OnProcessor&) = delete;
  OnProcessor& operator=(const OnProcessor&) = delete;
  ~OnProcessor();
};

// A program with its output dropped, and what it took.
struct Usage {
  double seconds = 0;      // By the wall.
  double cpu_seconds = 0;  // User and system.
  double peak_mb = 0;      // Resident.
};
Result<Usage> RunProgram(const std::vector<std::string>& arguments);

}  // namespace fl::bench
