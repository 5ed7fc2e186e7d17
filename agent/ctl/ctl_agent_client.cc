#include "agent/ctl/ctl_agent_client.h"

#include <curl/curl.h>
#include <errno.h>

#include <memory>

namespace landgate::ctl {
namespace {

constexpr size_t kMaxAnswerBytes = size_t{256} << 20;
constexpr long kAnswerSeconds = 30;
constexpr long kHttpOk = 200;

struct CloseCurl {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
using Curl = std::unique_ptr<CURL, CloseCurl>;

// What one request brings; libcurl calls back into it.
struct Transfer {
  CURL* curl = nullptr;
  std::string body;  // an answer with an end, or an error's
  const std::function<bool(std::string_view)>* take = nullptr;
  bool enough = false, too_large = false;

  static size_t OnBytes(char* bytes, size_t, size_t count, void* self) {
    return static_cast<Transfer*>(self)->Take({bytes, count}) ? count : 0;
  }
  bool Take(std::string_view bytes) {
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (take != nullptr && status == kHttpOk) {
      enough = !(*take)(bytes);
      return !enough;
    }
    too_large = body.size() + bytes.size() > kMaxAnswerBytes;
    if (!too_large) body += bytes;
    return !too_large;
  }
};

Failure CannotConnect(const AgentPlace& agent, int error_number) {
  if (error_number == EACCES || error_number == EPERM) {
    return Failure(Error{agent.socket +
                             ": permission denied; the agent answers its own user, and " +
                             "where that is root the members of group landgate",
                         error_number, ExitStatus::kRefused});
  }
  return Impossible("no agent answers at " + agent.socket + "; start it: systemctl " +
                    (agent.rootless ? "--user " : "") + "start landgate-agent, or: landgate-agent");
}

// The message of a JSON error.
std::string ErrorOf(const std::string& body, long status) {
  Result<policy::Json> json = policy::ParseJson(body, "answer", policy::Comments::kRefused);
  if (json && json->is_object() && json->contains("error") && (*json)["error"].is_string()) {
    return (*json)["error"].get<std::string>();
  }
  return "HTTP status " + std::to_string(status);
}

Status Perform(const AgentPlace& agent, const std::string& target, Transfer& transfer) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_NOTHING);
  const Curl curl(ready == CURLE_OK ? curl_easy_init() : nullptr);
  if (!curl) return Impossible("libcurl can't be used here");
  transfer.curl = curl.get();
  const std::string url = "http://landgate" + target;
  const bool endless = transfer.take != nullptr;
  // Nothing of the environment's: neither a proxy nor a redirect leads anywhere else.
  (void)curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  (void)curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, agent.socket.c_str());
  (void)curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http");
  (void)curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
  (void)curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L);
  (void)curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl.get(), CURLOPT_PATH_AS_IS, 1L);
  (void)curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, endless ? 0L : kAnswerSeconds);
  (void)curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Transfer::OnBytes);
  (void)curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
  const CURLcode done = curl_easy_perform(curl.get());
  long status = 0;
  (void)curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (done == CURLE_COULDNT_CONNECT) {
    long error_number = 0;
    (void)curl_easy_getinfo(curl.get(), CURLINFO_OS_ERRNO, &error_number);
    return CannotConnect(agent, static_cast<int>(error_number));
  }
  if (transfer.enough) return {};
  if (transfer.too_large) return Impossible(agent.socket + ": the agent's answer is too large");
  if (endless && status == kHttpOk) {
    return Impossible("the agent at " + agent.socket + " has ended the connection");
  }
  if (done != CURLE_OK) return Impossible(agent.socket + ": " + curl_easy_strerror(done));
  if (status != kHttpOk) return Refuse(ErrorOf(transfer.body, status));
  return {};
}

}  // namespace

Result<AgentPlace> FindAgent(const std::optional<std::string>& given,
                             const std::function<Result<node::Config>()>& config) {
  if (given) return AgentPlace{*given, false};
  Result<node::Config> loaded = config();
  if (!loaded) return Forward(loaded);
  return AgentPlace{loaded->control_socket, loaded->rootless};
}

Result<policy::Json> AskAgent(const AgentPlace& agent, const std::string& target) {
  Transfer transfer;
  if (Status done = Perform(agent, target, transfer); !done) return Forward(done);
  return policy::ParseJson(transfer.body, agent.socket + " " + target, policy::Comments::kRefused);
}

Status FollowAgent(const AgentPlace& agent, const std::string& target,
                   const std::function<bool(std::string_view)>& take) {
  Transfer transfer;
  transfer.take = &take;
  return Perform(agent, target, transfer);
}

std::string PercentEncoded(std::string_view text) {
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos) {
      encoded += c;
      continue;
    }
    encoded += '%';
    encoded += kDigits[static_cast<unsigned char>(c) >> 4];
    encoded += kDigits[static_cast<unsigned char>(c) & 0xf];
  }
  return encoded;
}

}  // namespace landgate::ctl
