#include "runtime/files.h"

#include "fixture.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace cnnc;
using namespace cnnc::test;

TEST_CASE("a file is written whole, replaced, and nothing is left beside it")
{
  Folder dir;
  write_file_atomically(dir / "a", "hello");
  CHECK(get(dir / "a") == "hello");
  std::string_view pieces[] = {"one ", "", "two"};
  write_file_atomically(dir / "a", pieces);
  CHECK(get(dir / "a") == "one two");
  CHECK(read_file(dir / "a", 7) == "one two");
  CHECK(dir.files() == std::set<std::string>{"a"});
}

TEST_CASE("an existing file keeps its permissions, a new one obeys the umask")
{
  Folder dir;
  write_file_atomically(dir / "a", "x");
  struct stat about;
  REQUIRE(stat((dir / "a").c_str(), &about) == 0);
  mode_t mask = umask(0);
  umask(mask);
  CHECK((about.st_mode & 0777) == (0666 & ~mask));
  REQUIRE(chmod((dir / "a").c_str(), 0640) == 0);
  write_file_atomically(dir / "a", "y");
  REQUIRE(stat((dir / "a").c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0640);
}

TEST_CASE("links are followed, also to a file that is not there yet")
{
  Folder dir;
  REQUIRE(mkdir((dir / "sub").c_str(), 0777) == 0);
  REQUIRE(symlink("sub/target", (dir / "link").c_str()) == 0);
  write_file_atomically(dir / "link", "new");
  CHECK(get(dir / "sub/target") == "new");
  write_file_atomically(dir / "link", "newer");
  CHECK(get(dir / "sub/target") == "newer");
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(same_file(dir / "link", dir / "sub/target"));
  CHECK_FALSE(same_file(dir / "link", dir / "sub"));
  CHECK_FALSE(same_file(dir / "nothing", dir / "nothing"));
  REQUIRE(symlink("loop", (dir / "loop").c_str()) == 0);
  CHECK(exit_code_of([&] { write_file_atomically(dir / "loop", "x"); }) == 3);
}

TEST_CASE("what cannot be written is an error with exit code 3 that names the file, and the old file stays")
{
  Folder dir;
  put(dir / "old", "old");
  CHECK(exit_code_of([&] { write_file_atomically(dir / "none/a", "x"); }) == 3);
  CHECK(error_of([&] { write_file_atomically(dir / "none/a", "x"); }).find("none/a") != std::string::npos);
  CHECK(exit_code_of([&] { write_file_atomically(dir / "old/a", "x"); }) == 3);
  CHECK(exit_code_of([&] { write_file_atomically(dir.path.string(), "x"); }) == 3);
  CHECK(exit_code_of([&] { write_file_atomically("", "x"); }) == 3);
  CHECK(exit_code_of([&] { write_file_atomically("/dev/full", "x"); }) == 3);
  CHECK(get(dir / "old") == "old");
  CHECK(dir.files() == std::set<std::string>{"old"});
}

TEST_CASE("a device stays a device")
{
  write_file_atomically("/dev/null", "x");
  struct stat about;
  REQUIRE(stat("/dev/null", &about) == 0);
  CHECK(S_ISCHR(about.st_mode));
}

TEST_CASE("two threads that write one file leave one of both")
{
  Folder dir;
  std::string a(100000, 'a'), b(100000, 'b');
  {
    std::jthread first([&] {
      for (int i = 0; i < 20; ++i)
        write_file_atomically(dir / "f", a);
    });
    std::jthread second([&] {
      for (int i = 0; i < 20; ++i)
        write_file_atomically(dir / "f", b);
    });
  }
  std::string left = get(dir / "f");
  CHECK((left == a || left == b));
  CHECK(dir.files() == std::set<std::string>{"f"});
}

TEST_CASE("reading has a limit, also where no size is known before")
{
  Folder dir;
  put(dir / "ten", "0123456789");
  CHECK(read_file(dir / "ten", 10).size() == 10);
  CHECK(exit_code_of([&] { read_file(dir / "ten", 9); }) == 1);
  CHECK(exit_code_of([&] { read_file("/dev/zero", 1 << 20); }) == 1);
  CHECK(exit_code_of([&] { read_file(dir / "none", 9); }) == 3);
  CHECK(exit_code_of([&] { read_file(dir.path.string(), 9); }) == 3);
  put(dir / "empty", "");
  CHECK(read_file(dir / "empty", 0).empty());
}

TEST_CASE("an input file is read in pieces and never beyond its end")
{
  Folder dir;
  put(dir / "ten", "0123456789");
  InputFile file(dir / "ten");
  CHECK(file.size() == 10);
  char piece[4] = {};
  file.read(6, piece, 4);
  CHECK(std::string(piece, 4) == "6789");
  CHECK(exit_code_of([&] { file.read(7, piece, 4); }) == 1);
  CHECK(exit_code_of([&] { InputFile zero("/dev/zero"); }) == 3);
  CHECK(exit_code_of([&] { InputFile directory(dir.path.string()); }) == 3);
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0666) == 0);
  CHECK(exit_code_of([&] { InputFile pipe(dir / "pipe"); }) == 3);
}
