// What a YAML node says, as a number, a word or an attribute; where it says something else, an Error at its place.
#pragma once

#include "compiler/yaml_document.h"
#include "ir/op.h"
#include "ir/tensor.h"

namespace cnnc {

// `what` names the thing in messages: "kernel", "the extent of an input".
int64_t integer_of(const YamlNode&, const std::string& what, int64_t minimum, int64_t maximum);
double real_of(const YamlNode&, const std::string& what, double minimum, double maximum);
bool boolean_of(const YamlNode&, const std::string& what);
const std::string& text_of(const YamlNode&, const std::string& what);
// An identifier: a letter or _, then letters, digits, _; at most 64.
const std::string& name_of(const YamlNode&, const std::string& what);
// One word or a list of them.
std::vector<YamlPtr> items_of(const YamlPtr&, const std::string& what);
void expect_map(const YamlNode&, const std::string& what);

// One value of an op's attribute, in the kind that its row wants, within the row's bounds.
AttributeValue attribute_of(const YamlNode&, const AttributeDef&);

// "unknown key 'fliters' of conv2d; did you mean 'filters'?"
[[noreturn]] void unknown_word(const Location&, const std::string& message, const std::string& word,
                               const std::vector<std::string>& known);

// Nested lists of numbers of exactly this type.
std::shared_ptr<const Tensor> tensor_of(const YamlNode&, const std::string& what, const TensorType&);

// "a list", "the text 'x'": what stands there instead.
std::string describe(const YamlNode&);

// Where the text of a scalar begins, for errors inside of it.
Location inside_of(const YamlNode&);

} // namespace cnnc
