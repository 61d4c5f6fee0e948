#include "fl/server/pki/command_line.h"

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "fl/common/base/clock.h"
#include "fl/common/base/file.h"
#include "fl/common/crypto/key_file.h"
#include "fl/server/pki/authority_folder.h"

namespace fl::pki {
namespace {

namespace fs = std::filesystem;
using crypto::CertificateRole;

constexpr int kWrongCall = 2;
constexpr int kFailed = 1;
constexpr std::uint64_t kRequestBytesMax = 64 << 10;
// Devices whose clocks are slow must not refuse a fresh certificate.
constexpr auto kBackdated = std::chrono::hours(1);

constexpr const char* kExample = R"(Example: an authority, a server, a device and an admin
  fl-pki init ca
  fl-pki issue ca main --role server --host fl.example.org --out pki/server
  fl-pki issue ca camera-17 --out pki/camera-17
  fl-pki issue ca ada --role admin --out pki/admin
A key that is born on its device and never leaves it:
  fl-pki request camera-18 --out pki          on the device: pki/client.key, pki/client.csr
  fl-pki sign ca client.csr --out signed      at the authority: signed/ca.crt, signed/client.crt
  (copy both into the device's pki folder)
A lost device (copy ca/revoked.crl into the server's folder afterwards):
  fl-pki revoke ca camera-17
Each program takes its folder by --pki.)";

struct Options {
  fs::path authority;
  std::string name;
  fs::path request;
  std::string role = "client";
  std::vector<std::string> hosts;
  fs::path out;
  int days = 365;
  int authority_days = 3650;
};

crypto::Validity ValidFor(int days) {
  const TimePoint now = SystemClock().Now();
  return {now - kBackdated, now + std::chrono::hours(24) * days};
}

// "server" or "client": how the files of a folder begin. An admin is a TLS client.
std::string FileStem(CertificateRole role) {
  return role == CertificateRole::kServer ? "server" : "client";
}

std::string DateText(TimePoint time) {
  const std::chrono::sys_days day(std::chrono::floor<std::chrono::days>(time.time_since_epoch()));
  const std::chrono::year_month_day date(day);
  char text[32];
  std::snprintf(text, sizeof(text), "%04d-%02u-%02u", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
  return text;
}

Result<crypto::CertificateRequest> RequestOf(const Options& options) {
  crypto::CertificateRequest request;
  request.name = options.name;
  request.hosts = options.hosts;
  request.validity = ValidFor(options.days);
  FL_TRY(request.role, crypto::ParseCertificateRole(options.role));
  return request;
}

Result<> ExpectAbsent(const fs::path& path) {
  if (!fs::exists(path)) return Ok{};
  return Error{ErrorCode::kInvalidArgument,
               path.string() + ": expected no such file, found one; choose another --out"};
}

void Report(const fs::path& folder, const crypto::CertificateInfo& info) {
  std::printf("%s: certificate of %s (%s), valid until %s\n", folder.c_str(), info.name.c_str(),
              std::string(crypto::CertificateRoleName(info.role)).c_str(),
              DateText(info.not_after).c_str());
}

// Everything of a --pki folder but the key.
Result<> WriteFolder(const fs::path& folder, const AuthorityFolder& authority,
                     const std::string& certificate) {
  FL_TRY(const crypto::CertificateInfo info, crypto::ReadCertificate(certificate));
  FL_TRY_OK(WriteFileAtomically(folder / "ca.crt", AsBytes(authority.certificate())));
  if (info.role == CertificateRole::kServer) {
    FL_TRY_OK(WriteFileAtomically(folder / "revoked.crl", AsBytes(authority.revoked())));
  }
  FL_TRY_OK(WriteFileAtomically(folder / (FileStem(info.role) + ".crt"), AsBytes(certificate)));
  Report(folder, info);
  return Ok{};
}

Result<> Init(const Options& options) {
  FL_TRY(const AuthorityFolder folder,
         AuthorityFolder::Create(options.authority, ValidFor(options.authority_days)));
  std::printf("%s: a new authority; keep its ca.key off the server\n", options.authority.c_str());
  return Ok{};
}

Result<> Issue(const Options& options) {
  FL_TRY(crypto::CertificateRequest request, RequestOf(options));
  FL_TRY_OK(crypto::CheckCertificateName(request.name));
  FL_TRY(AuthorityFolder authority, AuthorityFolder::Open(options.authority));
  const fs::path out = options.out.empty() ? fs::path(options.name) : options.out;
  const std::string stem = FileStem(request.role);
  FL_TRY_OK(ExpectAbsent(out / (stem + ".key")));
  FL_TRY_OK(ExpectAbsent(out / (stem + ".crt")));
  const crypto::PrivateKey key = crypto::PrivateKey::Generate();
  FL_TRY(const std::string certificate, authority.Issue(std::move(request), key));
  FL_TRY_OK(MakePrivateFolder(out));
  FL_TRY_OK(crypto::WriteKeyFile(out / (stem + ".key"), key.ToPem()));
  return WriteFolder(out, authority, certificate);
}

Result<> MakeRequest(const Options& options) {
  FL_TRY(const CertificateRole role, crypto::ParseCertificateRole(options.role));
  const crypto::PrivateKey key = crypto::PrivateKey::Generate();
  FL_TRY(const std::string request, crypto::MakeSigningRequest(key, options.name));
  const fs::path file = options.out / (FileStem(role) + ".csr");
  FL_TRY_OK(MakePrivateFolder(options.out));
  FL_TRY_OK(crypto::WriteKeyFile(options.out / (FileStem(role) + ".key"), key.ToPem()));
  FL_TRY_OK(WriteFileAtomically(file, AsBytes(request)));
  std::printf("%s: have it signed with fl-pki sign; the key stays here\n", file.c_str());
  return Ok{};
}

Result<> Sign(const Options& options) {
  FL_TRY(const Bytes bytes, ReadFile(options.request, kRequestBytesMax));
  const Result<std::string> name = crypto::SigningRequestName(AsText(bytes));
  if (!name) return name.error().At(options.request.string());
  FL_TRY(crypto::CertificateRequest request, RequestOf(options));
  request.name = *name;
  FL_TRY(AuthorityFolder authority, AuthorityFolder::Open(options.authority));
  const Result<std::string> certificate = authority.Sign(std::move(request), AsText(bytes));
  if (!certificate) return certificate.error().At(options.request.string());
  const fs::path beside = options.request.parent_path();
  const fs::path out = !options.out.empty() ? options.out : beside.empty() ? "." : beside;
  if (!fs::exists(out)) FL_TRY_OK(MakePrivateFolder(out));
  return WriteFolder(out, authority, *certificate);
}

Result<> Revoke(const Options& options) {
  FL_TRY(AuthorityFolder authority, AuthorityFolder::Open(options.authority));
  FL_TRY(const std::size_t count, authority.Revoke(options.name, SystemClock().Now()));
  const std::string list = (options.authority / "revoked.crl").string();
  std::printf("%s: %zu more revoked of %s; copy the list into the server's folder\n", list.c_str(),
              count, options.name.c_str());
  return Ok{};
}

// Each command with its options; the one that was called leaves its function in `command`.
using Command = Result<> (*)(const Options&);

void AddAuthority(CLI::App& app, Options& options) {
  app.add_option("DIR", options.authority, "The authority's folder")->required();
}

void AddDays(CLI::App& app, int& days) {
  app.add_option("--days", days, "Days until the certificate expires")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
}

void AddCertificate(CLI::App& app, Options& options) {
  app.add_option("--role", options.role, "client, admin or server")->capture_default_str();
  app.add_option("--host", options.hosts, "DNS name or IP address of a server; may be repeated")
      ->allow_extra_args(false);
  AddDays(app, options.days);
}

void DeclareCommands(CLI::App& app, Options& options, Command& command) {
  const auto add = [&](const char* name, const char* what, Command run) {
    CLI::App* const declared = app.add_subcommand(name, what);
    declared->callback([&command, run] { command = run; });
    return declared;
  };
  CLI::App* const init = add("init", "Make an authority", Init);
  AddAuthority(*init, options);
  AddDays(*init, options.authority_days);

  CLI::App* const issue = add("issue", "Make a key and its certificate, as a --pki folder", Issue);
  AddAuthority(*issue, options);
  issue->add_option("NAME", options.name, "Name of the device, admin or server")->required();
  AddCertificate(*issue, options);
  issue->add_option("--out", options.out, "Folder to write; default ./NAME");

  CLI::App* const request = add("request", "On the device: make a key and a request", MakeRequest);
  request->add_option("NAME", options.name, "Name of the device, admin or server")->required();
  request->add_option("--role", options.role, "client, admin or server")->capture_default_str();
  request->add_option("--out", options.out, "Folder to write")->required();

  CLI::App* const sign = add("sign", "Sign the request of a device", Sign);
  AddAuthority(*sign, options);
  sign->add_option("CSR", options.request, "The device's request")->required();
  AddCertificate(*sign, options);
  sign->add_option("--out", options.out, "Folder to write; default that of the request");

  CLI::App* const revoke = add("revoke", "Withdraw all certificates of a name", Revoke);
  AddAuthority(*revoke, options);
  revoke->add_option("NAME", options.name, "Name of the device, admin or server")->required();
}

int StatusOf(const Result<>& result) {
  if (result) return 0;
  std::fprintf(stderr, "fl-pki: %s\n", result.error().message.c_str());
  return result.error().code == ErrorCode::kInvalidArgument ? kWrongCall : kFailed;
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  Options options;
  Command command = nullptr;
  CLI::App app("Certificates for a fleet: an authority, its servers, devices and admins", "fl-pki");
  app.set_version_flag("--version", "fl-pki " FL_VERSION);
  app.footer(kExample);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-pki: " + std::string(error.what()) + "; see fl-pki --help\n";
  });
  try {
    DeclareCommands(app, options, command);
    app.parse(argc, argv);
    return StatusOf(command(options));
  } catch (const CLI::ParseError& error) {
    // Help and version are thrown too, with the code 0.
    return app.exit(error) == 0 ? 0 : kWrongCall;
  } catch (const std::exception& error) {
    return StatusOf(Error{ErrorCode::kIo, error.what()});
  }
}

}  // namespace fl::pki
