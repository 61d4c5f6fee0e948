#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "fl/tests/support/process.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::testing {

// Four devices learn to read digits from a table in `rounds` rounds; all four take part in each.
std::string DigitsPlan(int rounds);

// A throwaway federation of real programs in a folder of its own: certificates, each device's share
// of the data, one server and four devices that talk to it over mutual TLS on a free port.
class Fleet {
 public:
  static constexpr std::size_t kDevices = 4;

  explicit Fleet(const std::string& plan);

  const std::filesystem::path& folder() const { return folder_.path(); }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string plan_path() const { return path("plan.toml"); }
  const std::string& address() const { return address_; }

  // fl-pki issue; the certificate's folder is pki/NAME.
  void Issue(const std::string& name, const std::vector<std::string>& options = {});

  // More arguments for each server that is started from now on.
  void PassToServer(std::vector<std::string> options) { server_options_ = std::move(options); }
  // Starts the server at the address it had, or at a free port; returns when it listens.
  void StartServer();
  // Starts the next server on an empty state folder.
  void ForgetServer();
  void StartDevice(std::size_t index);
  void StartDevices();
  Process& server() { return *server_; }
  Process& device(std::size_t index) { return *devices_[index]; }
  static std::string DeviceName(std::size_t index) { return "device-000" + std::to_string(index); }
  std::string device_state(std::size_t index) const { return path("devices/" + DeviceName(index)); }

  // What `fl-server status --json` and `report --json` say.
  nlohmann::json Status() { return Ask("status"); }
  nlohmann::json Report() { return Ask("report"); }
  // `fl-server pause`, `start` and the like.
  void Command(const std::string& what) { Ask(what); }
  void AwaitClients(int count);
  // Asks until the open round is `number` or later and has `accepted` updates.
  void AwaitRound(int number, int accepted);
  void AwaitPublished(int rounds);
  // Each device, run with --until-done, ends with status 0, and the federation is done.
  void AwaitDone();
  // The same plan on virtual devices.
  nlohmann::json SimulatedReport(int threads);
  std::string SimulatedModel(int threads);

  // The arguments to start the server and a device with.
  std::vector<std::string> ServerCall() const;
  std::vector<std::string> DeviceCall(std::size_t index) const;

 private:
  nlohmann::json Ask(const std::string& what);
  void AwaitStatus(const std::function<bool(const nlohmann::json&)>& holds);

  TemporaryFolder folder_;
  std::string address_;
  std::vector<std::string> server_options_;
  std::unique_ptr<Process> server_;
  std::array<std::unique_ptr<Process>, kDevices> devices_;
};

// Of a report.
std::string ModelOf(const nlohmann::json& report);

}  // namespace fl::testing
