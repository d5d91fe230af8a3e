#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"
#include "ir/op.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace cnnc {

namespace {

using Json = nlohmann::ordered_json;

struct ToJson {
  template<class T>
  Json operator()(const T& value) const
  {
    return value;
  }
};

Json number(const char* type, const AttributeDef& def)
{
  Json json{{"type", type}};
  if (def.minimum > -1e9)
    json["minimum"] = def.minimum;
  if (def.maximum < 1e9)
    json["maximum"] = def.maximum;
  return json;
}

Json one_or_list(const AttributeDef& def, Json item, size_t least, size_t most)
{
  Json list{{"type", "array"}, {"items", item}};
  if (most > 0) // else of any length
    list.update({{"minItems", least}, {"maxItems", most}});
  Json either = Json::array({std::move(item), std::move(list)});
  if (def.kind == AttributeKind::padding)
    either.push_back({{"enum", {"same", "valid"}}});
  return {{"anyOf", std::move(either)}};
}

Json schema_of(const AttributeDef& def)
{
  Json json;
  switch (def.kind) {
  case AttributeKind::integer: json = number("integer", def); break;
  case AttributeKind::real: json = number("number", def); break;
  case AttributeKind::boolean: json = {{"type", "boolean"}}; break;
  case AttributeKind::text: json = def.choices.empty() ? Json{{"type", "string"}} : Json{{"enum", def.choices}}; break;
  case AttributeKind::texts: json = {{"type", "array"}, {"items", {{"type", "string"}}}}; break;
  case AttributeKind::padding:
    json = one_or_list(def, number("integer", def), def.parts.size() / 2, def.parts.size());
    break;
  case AttributeKind::reals: json = {{"type", "array"}, {"items", number("number", def)}}; break;
  case AttributeKind::integers:
    json = one_or_list(def, number("integer", def), def.parts.size(), def.parts.size());
    break;
  }
  json["description"] = def.doc;
  const double* real = def.default_value ? std::get_if<double>(&*def.default_value) : nullptr;
  if (def.default_value && (!real || std::isfinite(*real))) // JSON has no infinity
    json["default"] = std::visit(ToJson(), *def.default_value);
  return json;
}

Json map_of(Json properties, std::vector<std::string> required)
{
  Json json{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty())
    json["required"] = std::move(required);
  return json;
}

// In a block any value may be an expression of its parameters.
Json or_expression(Json json)
{
  return {{"anyOf", Json::array({std::move(json), {{"type", "string"}}})}};
}

// What every layer may carry.
Json layer_keys()
{
  return {
      {"name", {{"type", "string"}, {"description", "the layer's name; parameters are called name.weight"}}},
      {"from",
       {{"anyOf", {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}}}},
        {"description", "which layers or inputs it reads; default: the layer above"}}},
      {"repeat",
       or_expression(
           {{"type", "integer"}, {"minimum", 1}, {"description", "so many copies, each reads the one before"}})},
      {"when", or_expression({{"type", "boolean"}, {"description", "false: it is not there"}})},
      {"freeze", {{"type", "boolean"}, {"description", "training leaves its parameters as they are"}}},
      {"learning_rate", {{"type", "number"}, {"minimum", 0}, {"description", "times the optimizer's learning rate"}}},
      {"weights", {{"type", "object"}, {"description", "first values of its parameters, as nested lists"}}}};
}

Json attributes_of(const OpDef& def, Json properties, bool expressions = false)
{
  std::vector<std::string> required;
  for (const std::vector<AttributeDef>* defs : {&def.attributes, &def.layer})
    for (const AttributeDef& attribute : *defs) {
      if (attribute.name == "rate_factor")
        continue;
      properties[attribute.name] = expressions ? or_expression(schema_of(attribute)) : schema_of(attribute);
      if (!attribute.default_value)
        required.push_back(attribute.name);
    }
  return map_of(std::move(properties), std::move(required));
}

// An op with a trait: its name, or one key with its attributes.
Json choice_of(bool OpDef::*trait)
{
  Json names = Json::array(), properties = Json::object();
  for (const OpDef* def : op_table())
    if (def->*trait) {
      properties[def->name] = attributes_of(*def, Json::object());
      if (!properties[def->name].contains("required"))
        names.push_back(def->name);
      properties[def->name]["description"] = def->doc;
    }
  Json map = map_of(std::move(properties), {});
  map["minProperties"] = map["maxProperties"] = 1;
  return {{"anyOf", {{{"enum", std::move(names)}}, std::move(map)}}};
}

Json layers_schema(bool in_block)
{
  Json names = Json::array(), properties = Json::object();
  for (const OpDef* def : op_table())
    if (!def->is_loss && !def->is_optimizer && !def->is_internal) {
      names.push_back(def->name);
      Json attributes = attributes_of(*def, layer_keys(), in_block);
      const bool bare = !attributes.contains("required");
      properties[def->name] =
          bare ? Json{{"anyOf", {std::move(attributes), {{"type", "null"}}}}} : std::move(attributes);
      properties[def->name]["description"] = def->doc;
    }
  // Any other key is an op or a block of the file's own.
  Json map{
      {"type", "object"},
      {"properties", std::move(properties)},
      {"additionalProperties", {{"anyOf", {{{"type", "object"}, {"properties", layer_keys()}}, {{"type", "null"}}}}}},
      {"minProperties", 1},
      {"maxProperties", 1}};
  Json layer{{"anyOf", {{{"enum", std::move(names)}}, {{"type", "string"}}, std::move(map)}}};
  return {{"type", "array"}, {"minItems", 1}, {"items", std::move(layer)}};
}

Json schedule_schema()
{
  Json step =
      map_of({{"epochs", {{"type", "integer"}, {"minimum", 1}}}, {"factor", {{"type", "number"}, {"minimum", 0}}}}, {});
  return {{"anyOf",
           {{{"enum", {"constant", "cosine", "step"}}},
            {{"type", "object"},
             {"properties", {{"step", std::move(step)}}},
             {"required", {"step"}},
             {"additionalProperties", false}}}},
          {"description", "how the learning rate changes from epoch to epoch"}};
}

// {image: [3, 224, 224]}, or with what happens to a picture
Json input_schema()
{
  const Json count{{"type", "integer"}, {"minimum", 1}};
  const Json either_number{{"anyOf", {{{"type", "number"}}, {{"type", "array"}, {"items", {{"type", "number"}}}}}}};
  const auto with = [](Json json, const char* text) {
    json["description"] = text;
    return json;
  };
  Json extents{{"type", "array"}, {"minItems", 1}, {"maxItems", 7}, {"items", count}};
  extents["description"] = "extents of one image, as in [channels, rows, columns]";
  Json crop{{"anyOf", {count, {{"type", "array"}, {"items", count}, {"minItems", 2}, {"maxItems", 2}}}}};
  Json picture =
      map_of({{"shape", extents},
              {"resize", with(count, "pixels of the shorter side; the middle is cut out")},
              {"crop", with(std::move(crop), "what is cut out of the middle: rows and columns of the shape")},
              {"order", {{"enum", {"rgb", "bgr", "gray"}}}},
              {"scale",
               {{"anyOf", {{{"type", "number"}}, {{"type", "string"}}}},
                {"description", "times each pixel, of 0 to 255; default 1/255"}}},
              {"mean", with(either_number, "taken off after scale: one number, or one a channel")},
              {"std", with(either_number, "divides what is left: one number, or one a channel")}},
             {"shape"});
  return {{"type", "object"},
          {"minProperties", 1},
          {"additionalProperties", {{"anyOf", {std::move(extents), std::move(picture)}}}},
          {"description", "name: extents of one image, as in [channels, rows, columns]"}};
}

// What `define:` holds: layers alone, or with parameters.
Json block_schema()
{
  const Json text{{"type", "string"}};
  const Json texts{{"anyOf", {text, {{"type", "array"}, {"items", text}, {"minItems", 1}}}}};
  const Json layers{{"$ref", "#/definitions/block_layers"}};
  Json map = map_of({{"parameters",
                      {{"anyOf", {{{"type", "object"}}, texts}},
                       {"description", "name: default, or nothing where it must be given"}}},
                     {"inputs", texts},
                     {"layers", layers},
                     {"output", text}},
                    {"layers"});
  return {{"type", "object"}, {"additionalProperties", {{"anyOf", {layers, std::move(map)}}}}};
}

Json schema()
{
  const Json text{{"type", "string"}};
  const Json texts{{"anyOf", {text, {{"type", "array"}, {"items", text}, {"minItems", 1}}}}};
  Json op = map_of({{"inputs", texts}, {"outputs", texts}, {"formula", text}}, {"inputs", "formula"});
  Json train = map_of({{"data", {{"type", "string"}, {"description", "a known data set, or a folder"}}},
                       {"loss", choice_of(&OpDef::is_loss)},
                       {"optimizer", choice_of(&OpDef::is_optimizer)},
                       {"batch", {{"type", "integer"}, {"minimum", 1}}},
                       {"epochs", {{"type", "integer"}, {"minimum", 1}}},
                       {"seed", {{"type", "integer"}, {"minimum", 0}}},
                       {"schedule", schedule_schema()}},
                      {"loss", "optimizer"});
  Json root = map_of({{"name", {{"type", "string"}, {"pattern", "^[A-Za-z_][A-Za-z0-9_]{0,63}$"}}},
                      {"input", input_schema()},
                      {"ops", {{"type", "object"}, {"additionalProperties", std::move(op)}}},
                      {"define", block_schema()},
                      {"layers", layers_schema(false)},
                      {"output", texts},
                      {"without", {{"type", "array"}, {"items", text}, {"description", "layers that are taken out"}}},
                      {"weights", {{"type", "string"}, {"description", "a .safetensors file beside this one"}}},
                      {"train", std::move(train)}},
                     {"input", "layers"});
  root["definitions"] = {{"block_layers", layers_schema(true)}};
  root["$schema"] = "http://json-schema.org/draft-07/schema#";
  root["title"] = "cnnc network";
  return root;
}

} // namespace

int schema_command(const Arguments& arguments)
{
  Parser parser("cnnc schema",
                "JSON Schema of the network file, made from the op table: editors complete and check with it.",
                {"cnnc schema > cnnc.schema.json",
                 "# then, as the file's first line:  # yaml-language-server: $schema=cnnc.schema.json"});
  parser.parse(arguments);
  print(schema().dump(2) + "\n");
  return 0;
}

} // namespace cnnc
