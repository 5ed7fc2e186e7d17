#include "agent/control/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/paths.h"

namespace landgate::agent {
namespace {

bool OthersWrite(const struct stat& st) { return (st.st_mode & (S_IWGRP | S_IWOTH)) != 0; }
bool IsOurs(const struct stat& st) { return st.st_uid == 0 || st.st_uid == geteuid(); }

Result<UniqueFd> OpenDirectory(const std::string& path) {
  UniqueFd directory(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return SystemError(path, errno);
  struct stat st;
  if (fstat(directory.get(), &st) < 0) return SystemError(path, errno);
  // In a sticky directory nobody can rename or remove what is ours.
  if (!IsOurs(st) || (OthersWrite(st) && (st.st_mode & S_ISVTX) == 0)) {
    return Refuse(path + ": others could replace the audit log in this directory; it must belong " +
                  "to this user or root, and: chmod go-w " + path);
  }
  return directory;
}

Status CheckFile(const struct stat& st, const std::string& path) {
  if (!S_ISREG(st.st_mode)) return Refuse(path + ": not a regular file");
  if (!IsOurs(st) || OthersWrite(st)) {
    return Refuse(path +
                  ": others can write this file; it must belong to this user or root, and: " +
                  "chmod go-w " + path);
  }
  if (st.st_nlink != 1) return Refuse(path + ": the file has another name too (a hard link)");
  return {};
}

}  // namespace

Result<AuditFile> AuditFile::Open(std::string path, uint64_t max_bytes, unsigned keep) {
  if (!path.starts_with('/')) return Refuse(path + ": the audit log needs an absolute path");
  AuditFile file(std::move(path), max_bytes, keep);
  if (Status made = MakeDirectories(std::string(Parent(file.path_)), 0750); !made) {
    return Forward(made);
  }
  if (Status opened = file.OpenFile(); !opened) return Forward(opened);
  return file;
}

std::string AuditFile::Name(unsigned generation) const {
  std::string name = path_.substr(path_.rfind('/') + 1);
  return generation == 0 ? name : name + "." + std::to_string(generation);
}

Status AuditFile::OpenFile() {
  Result<UniqueFd> directory = OpenDirectory(std::string(Parent(path_)));
  if (!directory) return Forward(directory);
  // O_NONBLOCK: a FIFO must not hang us. Read too, to see whether the last line is whole.
  UniqueFd file(openat(directory->get(), Name(0).c_str(),
                       O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                       0600));
  if (!file.valid() && errno == ELOOP) {
    return Refuse(path_ + ": a symbolic link; the audit log must be a file");
  }
  if (!file.valid()) return SystemError(path_, errno);
  struct stat st;
  if (fstat(file.get(), &st) < 0) return SystemError(path_, errno);
  if (Status checked = CheckFile(st, path_); !checked) return checked;
  char last = '\n';
  if (st.st_size > 0 && pread(file.get(), &last, 1, st.st_size - 1) < 0) {
    return SystemError(path_, errno);
  }
  directory_ = std::move(*directory);
  file_ = std::move(file);
  size_ = static_cast<uint64_t>(st.st_size);
  torn_ = last != '\n';
  return {};
}

Status AuditFile::Reopen() { return OpenFile(); }

Status AuditFile::Append(std::string_view lines) {
  if (size_ + lines.size() > max_bytes_) {
    // Somebody may have truncated it (logrotate's copytruncate).
    struct stat st;
    if (fstat(file_.get(), &st) < 0) return SystemError(path_, errno);
    size_ = static_cast<uint64_t>(st.st_size);
  }
  if (size_ > 0 && size_ + lines.size() > max_bytes_) {
    if (Status rotated = Rotate(); !rotated) return rotated;
  }
  Status written = WriteWhole(lines);
  // The file may not grow so far; another one may.
  if (!written && written.error().error_number == EFBIG && size_ > 0) {
    if (Status rotated = Rotate(); !rotated) return rotated;
    written = WriteWhole(lines);
  }
  return written;
}

Status AuditFile::WriteWhole(std::string_view lines) {
  if (torn_) {
    if (Status ended = WriteAll(file_, "\n"); !ended) return Context(path_, ended);
    torn_ = false;
    size_ += 1;
  }
  Status written = WriteAll(file_, lines);
  if (written) {
    size_ += lines.size();
    return {};
  }
  // A part of it may stand there: a disk that was not quite full.
  if (ftruncate(file_.get(), static_cast<off_t>(size_)) < 0) torn_ = true;
  return Context(path_, written);
}

Status AuditFile::Rotate() {
  for (unsigned generation = keep_; generation > 0; --generation) {
    const std::string from = Name(generation - 1);
    if (renameat(directory_.get(), from.c_str(), directory_.get(), Name(generation).c_str()) < 0 &&
        errno != ENOENT) {
      return SystemError(path_ + ": rotate: " + from, errno);
    }
  }
  if (keep_ == 0 && unlinkat(directory_.get(), Name(0).c_str(), 0) < 0 && errno != ENOENT) {
    return SystemError(path_ + ": rotate", errno);
  }
  return OpenFile();
}

}  // namespace landgate::agent
